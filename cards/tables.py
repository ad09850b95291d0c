"""Lines of CSV that a spreadsheet program takes for text, never for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@")


def csv_line(cells: Iterable[object]) -> bytes:
    """One line, UTF-8, CRLF. A text that could be a formula is led in by an apostrophe; numbers stay numbers."""
    out = io.StringIO()
    csv.writer(out).writerow([safe_cell(cell) for cell in cells])
    return out.getvalue().encode()


def safe_cell(cell: object) -> object:
    if isinstance(cell, str) and (cell.lstrip().startswith(FORMULA) or cell.startswith(("\t", "\r", "\n"))):
        return f"'{cell}"
    return cell
