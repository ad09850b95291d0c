"""TXT, CSV and XLSX, each a generator of bytes.

No cell can become a formula: a text cell of CSV that begins like one gets an apostrophe before it, and XLSX holds
texts as texts. XLSX is written here, and not by a library, because a library first makes the whole file on a disk.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from itertools import chain, islice
from xml.sax.saxutils import escape

from django.utils.translation import gettext as _

from ..choices import CardStatus
from ..codes import group, mask
from ..models import Batch
from ..tables import safe_text
from ..vault import BatchVault
from .archive import Sink
from .snapshot import Row, Snapshot

_GROUPS = [place + place // 5 for place in range(25)]  # where each symbol stands among the hyphens
_LINE = b"-".join([b"     "] * 5) + b"\r\n"
SHEET_ROWS = 1_000_000  # a sheet holds 1,048,576


def txt(batch: Batch, snapshot: Snapshot, vault: BatchVault) -> Iterator[bytes]:
    """One code a line, UTF-8, CRLF line ends."""
    for codes in snapshot.code_pages(vault):
        yield _grouped(codes) if snapshot.uniform else _each(codes)


def _grouped(codes: list[bytes]) -> bytes:
    """Codes of 25 symbols, each as `codes.group` prints it, a line each; by columns, not one by one."""
    symbols = b"".join(codes)
    lines = bytearray(_LINE * len(codes))
    for place, at in enumerate(_GROUPS):
        lines[at :: len(_LINE)] = symbols[place::25]
    return bytes(lines)


def _each(codes: list[bytes]) -> bytes:
    return "".join(f"{group(code.decode())}\r\n" for code in codes).encode()


def csv(batch: Batch, snapshot: Snapshot, vault: BatchVault) -> Iterator[bytes]:
    """Serial, code, status, last valid day. The byte order mark tells spreadsheets that it is UTF-8."""
    head = ",".join(_quoted(text) for text in _headings())
    statuses, day = _statuses(), f"{batch.last_day:%Y-%m-%d}"

    def lines() -> Iterator[bytes]:
        yield f"\ufeff{head}\r\n".encode()
        for page in snapshot.rows(vault):
            yield "".join(
                f"{row.serial},{_quoted(_code(row))},{_quoted(statuses[row.status])},{day}\r\n" for row in page
            ).encode()

    return lines()


def _headings() -> list[str]:
    return [_("Serial"), _("Card code"), _("Status"), _("Valid until")]


def _statuses() -> dict[str, str]:
    """Looked up now: while the file streams, the request's language is over."""
    return {value: str(label) for value, label in CardStatus.choices}


def _code(row: Row) -> str:
    return group(row.code) if row.code else mask(row.last4).rstrip()


def _quoted(text: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula."""
    text = safe_text(text)
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


# --- XLSX -------------------------------------------------------------------------------------------------------
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_WIDTHS = (9, 34, 12, 14)


def xlsx(batch: Batch, snapshot: Snapshot, vault: BatchVault) -> Iterator[bytes]:
    """The same table as a workbook, of several sheets where one cannot hold it."""
    total = snapshot.last - snapshot.first + 1
    sheets = max(1, -(-total // SHEET_ROWS))
    head, statuses = _cells(_headings(), style=1), _statuses()
    tail = f'<c t="inlineStr"><is><t>{batch.last_day:%Y-%m-%d}</t></is></c></row>'
    shown = {
        status: f'<c t="inlineStr"><is><t>{escape(label)}</t></is></c>{tail}' for status, label in statuses.items()
    }

    def parts() -> Iterator[bytes]:
        sink = Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
            for name, text in _frame(batch.number, sheets):
                book.writestr(name, _HEAD + text)
            rows = chain.from_iterable(snapshot.rows(vault))
            for sheet in range(1, sheets + 1):
                with book.open(f"xl/worksheets/sheet{sheet}.xml", "w", force_zip64=True) as part:
                    part.write((_HEAD + _SHEET_TOP + f"<row>{head}</row>").encode())
                    mine = islice(rows, SHEET_ROWS)
                    while block := list(islice(mine, 2_000)):
                        part.write(_lines(block, shown))
                        yield sink.take()
                    part.write(b"</sheetData></worksheet>")
                yield sink.take()
        yield sink.take()

    return parts()


def _lines(rows: list[Row], shown: dict[str, str]) -> bytes:
    return "".join(
        f'<row><c><v>{row.serial}</v></c><c t="inlineStr"><is><t>{escape(_code(row))}</t></is></c>{shown[row.status]}'
        for row in rows
    ).encode()


def _cells(texts: list[str], *, style: int = 0) -> str:
    return "".join(f'<c s="{style}" t="inlineStr"><is><t>{escape(text)}</t></is></c>' for text in texts)


_SHEET_TOP = (
    f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" '
    'activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols>'
    + "".join(f'<col min="{n}" max="{n}" width="{width}" customWidth="1"/>' for n, width in enumerate(_WIDTHS, 1))
    + "</cols><sheetData>"
)


def _frame(title: str, sheets: int) -> Iterator[tuple[str, str]]:
    """The workbook's parts other than its sheets."""
    numbers = range(1, sheets + 1)
    yield (
        "[Content_Types].xml",
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPE}.worksheet+xml"/>' for n in numbers
        )
        + "</Types>",
    )
    yield (
        "_rels/.rels",
        f'<Relationships xmlns="{_RELS}"><Relationship Id="rId1" Type="{_OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
    )
    yield (
        "xl/workbook.xml",
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(f'<sheet name="{escape(title)} {n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        + "</sheets></workbook>",
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        f'<Relationships xmlns="{_RELS}">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
        )
        + f'<Relationship Id="rId{sheets + 1}" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    )
    yield (
        "xl/styles.xml",
        f'<styleSheet xmlns="{_MAIN}"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill '
        'patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1">'
        '<border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf/>'
        '</cellStyleXfs><cellXfs count="2"><xf xfId="0"/><xf xfId="0" fontId="1" applyFont="1"/></cellXfs>'
        "</styleSheet>",
    )
