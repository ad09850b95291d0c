"""Lines of CSV that a spreadsheet program takes for text, never for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = re.compile(r"\s*[=+\-@|%＝＋－＠]|[\t\r\n]")
# Where a program set to another country's separator, or deaf to our quotes, begins a cell of its own.
_INNER = re.compile(r"((?:;|\S\s*[\t\r\n])\s*)(?=[=+\-@|%＝＋－＠])")


def csv_line(cells: Iterable[object]) -> bytes:
    """One line, UTF-8, CRLF. Numbers stay numbers."""
    out = io.StringIO()
    csv.writer(out).writerow([safe_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue().encode()


def safe_text(text: str) -> str:
    """The text, led in by an apostrophe if it could be a formula, and so each part of it that could become a cell. A
    code pasted with it is still found."""
    text = _INNER.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) else text
