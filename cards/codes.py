"""Card codes: 24 random symbols of Crockford's base32 (120 bits) and one check symbol, shown in five groups of five.

Pure: no Django, no keys. The check symbol makes the weighted sum of all 25 symbols zero in GF(32), weights being
successive powers of the generator: every single wrong symbol and every swap of two symbols is caught, because the
weights are distinct and none is zero.
"""

from __future__ import annotations

import os
import re
import unicodedata

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 25
RANDOM = 24
GROUP = 5
FOREIGN_LONGEST = 64

_LOW5 = bytes(value & 31 for value in range(256))
_SYMBOLS = bytes(ord(ALPHABET[value & 31]) for value in range(256))
_VALUE = {symbol: value for value, symbol in enumerate(ALPHABET)}
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})
_FOREIGN = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[\s\-_.\u00ad\u2010-\u2015\u2212\u200b-\u200f\u2060\ufeff]+")


class BadCode(ValueError):
    """The text cannot be a code. `kind` is "empty", "symbol", "length" or "check"; never holds the text."""

    def __init__(self, kind: str, group: int | None = None) -> None:
        self.kind = kind
        self.group = group
        super().__init__(kind)


def _double(value: int) -> int:
    """Multiply by the generator x of GF(32) with x^5 + x^2 + 1."""
    value <<= 1
    return value ^ 0b100101 if value & 32 else value


def _weights() -> list[list[int]]:
    """Row i maps a symbol's value to value * x^i."""
    rows = [list(range(32))]
    for _ in range(LENGTH - 1):
        rows.append([_double(value) for value in rows[-1]])
    return rows


_TIMES = _weights()
_TIMES_TABLE = [bytes(row[value & 31] for value in range(256)) for row in _TIMES]
_SOLVE_LAST = bytes(_TIMES[RANDOM].index(value & 31) for value in range(256))


def make(count: int) -> list[str]:
    """`count` fresh codes (25 characters each, ungrouped) from the operating system's CSPRNG.

    Works on columns: position i of all codes is one byte string, so that drawing, checking and spelling are a few
    C-speed passes instead of a Python loop per symbol.
    """
    if count < 1:
        return []
    values = os.urandom(RANDOM * count).translate(_LOW5)
    spelled = bytearray(LENGTH * count)
    total = 0
    for position in range(RANDOM):
        column = values[position::RANDOM]
        spelled[position::LENGTH] = column.translate(_SYMBOLS)
        total ^= int.from_bytes(column.translate(_TIMES_TABLE[position]), "big")
    checks = total.to_bytes(count, "big").translate(_SOLVE_LAST)
    spelled[RANDOM::LENGTH] = checks.translate(_SYMBOLS)
    text = spelled.decode("ascii")
    return [text[start : start + LENGTH] for start in range(0, LENGTH * count, LENGTH)]


def is_valid(code: str) -> bool:
    """Whether a canonical code's check symbol fits."""
    total = 0
    for position, symbol in enumerate(code):
        total ^= _TIMES[position][_VALUE[symbol]]
    return total == 0


def normalise(text: str) -> str:
    """The canonical 25 characters of what a person typed or pasted; the one place where typing is forgiven.

    Accepts any case, spaces, hyphens, full-width and zero-width forms, O for 0, I and L for 1. Raises BadCode.
    """
    if len(text) > 400:
        raise BadCode("length")
    folded = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper().translate(_LOOKALIKES)
    if not folded:
        raise BadCode("empty")
    for position, symbol in enumerate(folded):
        if symbol not in _VALUE:
            raise BadCode("symbol", position // GROUP + 1)
    if len(folded) != LENGTH:
        raise BadCode("length")
    if not is_valid(folded):
        raise BadCode("check")
    return folded


def foreign(text: str) -> str:
    """The normal form of a code of another system: NFKC, without separators, in capitals. Raises BadCode.

    Nothing is forgiven but case and separators, for in another alphabet O and 0 may be two symbols; and the apostrophe
    that leads in a code such as =7K3 in a CSV file of ours.
    """
    if len(text) > 400:
        raise BadCode("length")
    folded = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper().removeprefix("'")
    if not folded:
        raise BadCode("empty")
    if not _FOREIGN.fullmatch(folded):
        raise BadCode("symbol", 1)
    if len(folded) > FOREIGN_LONGEST:
        raise BadCode("length")
    return folded


def canonical(text: str) -> str:
    """The one form that a text is looked up by: ours if it is a code of ours in full, else the foreign one.

    Import and redemption both ask here, so a card is always found by a single look-up. Raises BadCode.
    """
    try:
        return normalise(text)
    except BadCode:
        return foreign(text)


def group(code: str) -> str:
    """The printed form, XXXXX-XXXXX-XXXXX-XXXXX-XXXXX; an imported code is printed as it came."""
    if len(code) != LENGTH or not _VALUE.keys() >= set(code):
        return code
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def mask(last4: str) -> str:
    """What lists show of a code."""
    return f"•••• {last4}"
