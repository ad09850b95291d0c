"""Finding codes in anything: heaps of bytes are searched for many codes at once, in every form a code may take."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

GROUP = 5


@dataclass(frozen=True)
class Hit:
    """`form` is how the code was written there; the code itself is not repeated."""

    place: str
    form: str
    number: int


class LeakScanner:
    """Knows the codes by their numbers, 0 to n-1.

    Forms: plain and grouped, in any case, with spaces or %2D between the groups, one or two bytes a character; hex and
    base64 (both alphabets, at any offset within a longer text) of the plain and the grouped form, upper and lower.
    """

    def __init__(self, codes: Iterable[str]) -> None:
        plain, hexadecimal, base = {}, {}, {}
        for number, code in enumerate(codes):
            grouped = "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))
            plain[code.encode()] = number
            for form in (code, grouped, code.lower(), grouped.lower()):
                raw = form.encode()
                hexadecimal[raw.hex().encode()[:50]] = number
                for offset in range(3):
                    base[_core(raw, offset)] = number
        self.plain = Needles("plain", rb"[0-9A-Z]{25,}", plain)
        self.hex = Needles("hex", rb"[0-9a-f]{50,}", hexadecimal)
        self.base64 = Needles("base64", rb"[0-9A-Za-z+/]{30,}", base)

    def scan(self, place: str, content: bytes) -> list[Hit]:
        joined = re.sub(rb"%2[Dd]|%20|[-\s+\0]", b"", content).upper()
        standard = content.replace(b"-", b"+").replace(b"_", b"/")
        searched = ((self.plain, joined), (self.hex, content.lower()), (self.base64, standard))
        return [Hit(place, needles.form, number) for needles, text in searched for number in needles.found_in(text)]


class Needles:
    """Texts of one length over one alphabet, each with its number.

    Wherever a needle stands, one of its blocks stands where a stride begins: only there the heap is looked at.
    """

    def __init__(self, form: str, run: bytes, needles: dict[bytes, int]) -> None:
        (length,) = {len(needle) for needle in needles}
        self.form, self.run, self.numbers = form, re.compile(run), needles
        self.block = length // 2
        self.stride = length - self.block + 1
        self.blocks: dict[bytes, list[tuple[int, bytes]]] = {}
        for needle in needles:
            for offset in range(self.stride):
                self.blocks.setdefault(needle[offset : offset + self.block], []).append((offset, needle))

    def found_in(self, content: bytes) -> list[int]:
        found = set()
        for match in self.run.finditer(content):
            text = match[0]
            for start in range(0, len(text) - self.block + 1, self.stride):
                for offset, needle in self.blocks.get(text[start : start + self.block], ()):
                    if start >= offset and text.startswith(needle, start - offset):
                        found.add(self.numbers[needle])
        return sorted(found)


def _core(raw: bytes, offset: int) -> bytes:
    """The characters of the base64 text that are the same whatever stands before and after, cut to one length."""
    text = base64.b64encode(bytes(offset) + raw)
    return text[(0, 2, 3)[offset] + (offset > 0) :][:30]
