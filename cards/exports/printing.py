"""Print sheets (PDF): name, product, validity, serial and code of each card, and a QR code that leads to picking it up.

The QR code holds a link with the card's code behind the `#`, which no server's log sees. A file is made in memory, so
it holds CARDS_A_FILE at most; more cards make several files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import segno
from django.conf import settings
from django.utils.translation import gettext as _

from ..choices import PrintLayout, ProductType
from ..codes import group
from ..exceptions import NoPrintFont
from ..models import Batch
from ..templatetags.cards import period
from ..vault import BatchVault
from .fonts import print_font
from .snapshot import Snapshot

if TYPE_CHECKING:
    from fpdf import FPDF

CARDS_A_FILE = 5_000
MOST_CARDS = 100_000  # minutes of a process's time
REDEEM_PATH = "/cards/redeem/"
FACE = "cards"


@dataclass(frozen=True)
class Layout:
    """Millimetres; type sizes in points. The cards stand side by side without a gap, in the middle of the page."""

    page: tuple[float, float]
    columns: int
    rows: int
    card: tuple[float, float]
    padding: float
    qr: float
    name: float
    text: float
    code: float

    @property
    def per_page(self) -> int:
        return self.columns * self.rows

    def corner(self, place: int) -> tuple[float, float]:
        """The upper left corner of the page's card number `place`, counted from 0."""
        row, column = divmod(place, self.columns)
        left = (self.page[0] - self.columns * self.card[0]) / 2
        top = (self.page[1] - self.rows * self.card[1]) / 2
        return left + column * self.card[0], top + row * self.card[1]


A4 = (210.0, 297.0)
LAYOUTS = {
    PrintLayout.A4_10: Layout(A4, 2, 5, (85, 54), 5, 25, name=12, text=7.5, code=12.5),
    PrintLayout.A4_24: Layout(A4, 3, 8, (70, 37), 3.5, 18.5, name=8.5, text=6, code=10),
    PrintLayout.ONE: Layout((210.0, 148.0), 1, 1, (190, 128), 12, 56, name=26, text=14, code=28),
}


@dataclass(frozen=True)
class Words:
    """What stands on every card, in the language of whoever asked for the file."""

    name: str
    product: str
    valid: str
    serial: str
    hint: str

    @classmethod
    def of(cls, batch: Batch) -> Words:
        site = settings.SITE_URL.partition("://")[2] + REDEEM_PATH
        return cls(
            name=batch.name,
            product=f"{ProductType(batch.product_type).member_label} · {period(batch.term_months)}",
            valid=_("Valid until %(day)s") % {"day": f"{batch.last_day:%Y-%m-%d}"},
            serial=_("No. %(serial)s"),
            hint=_("Pick up: scan, or type the code at %(site)s") % {"site": site},
        )

    @property
    def all(self) -> str:
        return self.name + self.product + self.valid + self.serial + self.hint


def pdfs(
    batch: Batch, snapshot: Snapshot, vault: BatchVault, layout: PrintLayout
) -> Iterator[tuple[int, int, Iterator[bytes]]]:
    """The unused cards as files to print, each (first serial, last serial, its bytes).

    Raises NoPrintFont now; the cards are read when they are asked for.
    """
    words, shape = Words.of(batch), LAYOUTS[layout]
    font = print_font()
    if font is None and not _is_latin(words.all):
        raise NoPrintFont

    def files() -> Iterator[tuple[int, int, Iterator[bytes]]]:
        cards = snapshot.cards(vault)
        while part := list(islice(cards, CARDS_A_FILE)):
            yield part[0][0], part[-1][0], _document(shape, font, words, part)

    return files()


def pdf(batch: Batch, snapshot: Snapshot, vault: BatchVault, layout: PrintLayout) -> Iterator[bytes]:
    """As `pdfs`, for no more cards than one file holds."""
    return chain.from_iterable(document for _first, _last, document in pdfs(batch, snapshot, vault, layout))


def _document(
    shape: Layout, font: tuple[str, int] | None, words: Words, cards: Iterable[tuple[int, str]]
) -> Iterator[bytes]:
    sheet = _blank(shape, font)
    for number, (serial, code) in enumerate(cards):
        if number % shape.per_page == 0:
            sheet.add_page()
        _draw(sheet, shape, number % shape.per_page, words, serial, code)
    yield bytes(sheet.output())


def _is_latin(text: str) -> bool:
    """Whether the fonts that every PDF reader has are enough."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _blank(shape: Layout, font: tuple[str, int] | None) -> FPDF:
    from fpdf import FPDF  # a quarter of a process's start, for the few that ever print

    sheet = FPDF(format=shape.page)
    sheet.set_auto_page_break(False)
    sheet.set_creator("")
    if font:
        sheet.add_font(FACE, fname=font[0], collection_font_number=font[1])
    sheet.set_font(FACE if font else "helvetica")
    sheet.set_draw_color(200)
    sheet.set_line_width(0.1)
    return sheet


def _draw(sheet: FPDF, shape: Layout, place: int, words: Words, serial: int, code: str) -> None:
    left, top = shape.corner(place)
    width, height = shape.card
    sheet.rect(left, top, width, height)
    left, top, width, height = (
        left + shape.padding,
        top + shape.padding,
        width - 2 * shape.padding,
        height - 2 * shape.padding,
    )
    beside = width - shape.qr - shape.padding / 2  # what the QR code leaves
    line = shape.text * 0.5
    at = top + shape.name * 0.33
    at = _write(sheet, left, at, beside, shape.name, words.name, lines=2) + line * 1.2
    for text in (words.product, words.valid, words.serial % {"serial": serial}):
        sheet.set_text_color(70)
        at = _write(sheet, left, at, beside, shape.text, text) + line
    sheet.set_text_color(0)
    _qr(sheet, left + width - shape.qr, top, shape.qr, f"{settings.SITE_URL}{REDEEM_PATH}#{quote(group(code))}")
    bottom = top + height
    _write(sheet, left, bottom - shape.text * 0.62, width, shape.code, group(code))
    sheet.set_text_color(90)
    _write(sheet, left, bottom, width, shape.text * 0.85, words.hint)
    sheet.set_text_color(0)


def _write(sheet: FPDF, x: float, y: float, width: float, size: float, text: str, *, lines: int = 1) -> float:
    """Put the text's base line at y, smaller if it must be, on a second line if it may; returns the last base line."""
    sheet.set_font_size(size)
    needed = sheet.get_string_width(text)
    if needed > width and lines > 1:
        cut = _break(sheet, text, width)
        sheet.text(x, y, text[:cut].rstrip())
        return _write(sheet, x, y + size * 0.42, width, size, text[cut:].lstrip(), lines=lines - 1)
    if needed > width:
        sheet.set_font_size(max(size * 0.6, size * width / needed))
        while len(text) > 1 and sheet.get_string_width(text) > width + 0.01:
            text = text.removesuffix("…")[:-1] + "…" if sheet.font_family == FACE else text[:-1]
    sheet.text(x, y, text)
    return y


def _break(sheet: FPDF, text: str, width: float) -> int:
    """How much of the text fits on a line: up to its last space if there is one, up to any character else."""
    fits = len(text)
    while fits > 1 and sheet.get_string_width(text[:fits]) > width:
        fits -= 1
    space = text.rfind(" ", 0, fits + 1)
    return space + 1 if space > 0 else fits


def _qr(sheet: FPDF, x: float, y: float, size: float, link: str) -> None:
    """One filled path of the dark modules' runs: a picture each would make the file ten times as slow."""
    matrix: Any = segno.make_qr(
        link, error="m", mask=0
    ).matrix  # a reader takes any mask; the best costs 8 times as much
    scale, step = sheet.k, size / len(matrix)
    boxes = []
    for number, row in enumerate(matrix):
        up = (sheet.h - y - (number + 1) * step) * scale
        start = -1
        for column, dark in enumerate((*row, 0)):
            if dark and start < 0:
                start = column
            elif not dark and start >= 0:
                wide = (column - start) * step * scale
                boxes.append(f"{(x + start * step) * scale:.2f} {up:.2f} {wide:.2f} {step * scale + 0.02:.2f} re")
                start = -1
    sheet._out(" ".join(["0 g", *boxes, "f"]))
