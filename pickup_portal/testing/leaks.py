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
        self.plain: dict[bytes, int] = {}
        self.hex: dict[bytes, int] = {}
        self.base64: dict[bytes, int] = {}
        for number, code in enumerate(codes):
            grouped = "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))
            self.plain[code.encode()] = number
            for form in (code, grouped, code.lower(), grouped.lower()):
                raw = form.encode()
                self.hex[raw.hex().encode()[:50]] = number
                for offset in range(3):
                    self.base64[_core(raw, offset)] = number

    def scan(self, place: str, content: bytes) -> list[Hit]:
        joined = re.sub(rb"%2[Dd]|%20|[-\s+\0]", b"", content).upper()
        hits = _windows(joined, rb"[0-9A-Z]{25,}", self.plain, place, "plain")
        hits += _windows(content.lower(), rb"[0-9a-f]{50,}", self.hex, place, "hex")
        standard = content.replace(b"-", b"+").replace(b"_", b"/")
        return hits + _windows(standard, rb"[0-9A-Za-z+/]{30,}", self.base64, place, "base64")


def _core(raw: bytes, offset: int) -> bytes:
    """The characters of the base64 text that are the same whatever stands before and after, cut to one length."""
    text = base64.b64encode(bytes(offset) + raw)
    return text[(0, 2, 3)[offset] + (offset > 0) :][:30]


def _windows(content: bytes, run: bytes, needles: dict[bytes, int], place: str, form: str) -> list[Hit]:
    """Every needle within every run of the alphabet."""
    lengths = {len(needle) for needle in needles}
    found = set()
    for match in re.finditer(run, content):
        text = match[0]
        for length in lengths:
            for start in range(len(text) - length + 1):
                if (number := needles.get(text[start : start + length])) is not None:
                    found.add(number)
    return [Hit(place, form, number) for number in sorted(found)]
