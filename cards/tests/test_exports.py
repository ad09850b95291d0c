"""What stands in each file, and that an archive opens with its password alone."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from typing import Any
from xml.etree import ElementTree

import pytest
import pyzipper
from django.utils import translation

from accounts.tests.factories import UserFactory
from cards import actions, exports
from cards.choices import AuditAction, ExportFormat, PrintLayout
from cards.codes import group
from cards.exceptions import NoPrintFont, NothingToHandOut, TooManyToPrint
from cards.exports import printing, snapshot, tables
from cards.models import AuditEvent, Batch
from cards.tables import csv_line

from .factories import make_batch
from .staff import staff_with, use

pytestmark = pytest.mark.django_db


def handed(batch: Batch, file_format: ExportFormat = ExportFormat.TXT, **kw: Any) -> bytes:
    return b"".join(exports.hand_out(batch=batch, actor=None, reason="tests", file_format=file_format, **kw))


def note() -> dict[str, Any]:
    return AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).latest("pk").detail


@pytest.fixture
def mixed() -> tuple[Batch, list[str]]:
    """Five cards: the second used, the third disabled."""
    batch, codes = make_batch(quantity=5)
    use(batch, 2, UserFactory.create(), "R1")
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    return batch, [group(code) for code in codes]


def expected(batch: Batch, codes: list[str]) -> list[list[str]]:
    day, last4 = f"{batch.last_day:%Y-%m-%d}", dict(batch.cards.values_list("serial", "last4"))
    return [
        ["Serial", "Card code", "Status", "Valid until"],
        ["1", codes[0], "Unused", day],
        ["2", f"•••• {last4[2]}", "Used", day],
        ["3", f"•••• {last4[3]}", "Disabled", day],
        ["4", codes[3], "Unused", day],
        ["5", codes[4], "Unused", day],
    ]


def test_last_four_only_for_whoever_may_see_them(mixed: Any) -> None:
    batch, codes = mixed
    for permissions, ends in ((("download_batch",), ["••••", "••••"]), (("download_batch", "view_last4"), None)):
        handout = exports.hand_out(
            batch=batch, actor=staff_with(*permissions), reason="sold", file_format=ExportFormat.CSV
        )
        rows = list(csv.reader(io.StringIO(b"".join(handout).decode("utf-8-sig"))))
        wanted = expected(batch, codes)
        if ends:
            wanted[2][1], wanted[3][1] = ends
        assert rows == wanted


def test_txt_holds_the_unused_cards_in_order_across_pages(mixed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = mixed
    monkeypatch.setattr(snapshot, "FIRST_PAGE", 1)
    monkeypatch.setattr(snapshot, "PAGE", 2)
    assert handed(batch).decode() == f"{codes[0]}\r\n{codes[3]}\r\n{codes[4]}\r\n"
    assert note() == {"reason": "tests", "format": "txt", "cards": 3}


def test_csv_lists_every_card_and_opens_as_utf8(mixed: Any) -> None:
    data = handed(mixed[0], ExportFormat.CSV)
    assert data.startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(data.decode("utf-8-sig")))) == expected(*mixed)
    assert note()["cards"] == 3


def test_xlsx_holds_the_same_as_texts(mixed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SHEET_ROWS", 3)  # and so two sheets
    book = zipfile.ZipFile(io.BytesIO(handed(mixed[0], ExportFormat.XLSX)))
    assert book.testzip() is None
    for name in book.namelist():
        ElementTree.fromstring(book.read(name))  # noqa: S314 (our own)
    head, *rows = expected(*mixed)
    assert sheet(book, 1) == [head, *rows[:3]]
    assert sheet(book, 2) == [head, *rows[3:]]
    assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


def sheet(book: zipfile.ZipFile, number: int) -> list[list[str]]:
    root = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314
    main = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    return [["".join(cell.itertext()) for cell in row.iter(f"{main}c")] for row in root.iter(f"{main}row")]


FORMULAS = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\rx", "|x", "%x", "＝1", "＋1", "－1", "＠x", "\u3000＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    for line in (f"{tables._quoted(text)}\r\n", csv_line([text]).decode()):
        assert next(csv.reader(io.StringIO(line, newline="")))[0] == f"'{text}"
    assert tables._quoted("A-1") == "A-1"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a;=1;b", "a;'=1;b"),
        (";-1", ";'-1"),
        ("a\t =1", "a\t '=1"),
        ("a\r\n@x;+1", "a\r\n'@x;'+1"),
        ("a; b-c", "a; b-c"),
    ],
)
def test_nor_does_what_another_separator_would_make_a_cell(text: str, kept: str) -> None:
    """Spreadsheets of some countries part cells at semicolons, and see no quotes within a cell."""
    (line,) = csv.reader(io.StringIO(csv_line([text]).decode(), newline=""))
    assert line == [kept]


def test_a_range_and_a_single_card(mixed: Any) -> None:
    batch, codes = mixed
    assert handed(batch, serials=(2, 4)).decode() == f"{codes[3]}\r\n"
    assert note()["serials"] == "2-4"
    handout = exports.hand_out(batch=batch, actor=None, reason="lost print", serials=(5, 5))
    assert handout.filename == f"{batch.number}-5.txt"
    assert b"".join(handout).decode() == f"{codes[4]}\r\n"
    event = AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).latest("pk")
    assert (event.card, event.detail["cards"]) == (batch.cards.get(serial=5), 1)


@pytest.mark.parametrize("serials", [(2, 3), (6, 9)])
def test_nothing_to_hand_out_is_said_and_not_noted(mixed: Any, serials: tuple[int, int]) -> None:
    before = AuditEvent.objects.count()
    for file_format in ExportFormat:
        with pytest.raises(NothingToHandOut):
            handed(mixed[0], file_format, serials=serials)
    assert AuditEvent.objects.count() == before


def test_codes_of_other_lengths_are_handed_out_too() -> None:
    batch, codes = make_batch(quantity=3)
    card = batch.cards.get(serial=2)
    from cards.vault import BatchVault

    batch.cards.filter(pk=card.pk).update(sealed=BatchVault.of(batch).seal(2, "OLD-1"))
    assert handed(batch).decode() == f"{group(codes[0])}\r\nOLD-1\r\n{group(codes[2])}\r\n"


# --- The archive ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file_format", [ExportFormat.TXT, ExportFormat.XLSX])
def test_an_archive_opens_with_its_password_alone(mixed: Any, file_format: ExportFormat) -> None:
    batch, codes = mixed
    handout = exports.hand_out(
        batch=batch, actor=None, reason="to the shop", file_format=file_format, password="correct horse"
    )
    data = b"".join(handout)
    assert handout.filename == f"{batch.number}.{file_format.value}.zip"
    assert codes[0].encode() not in data
    book = pyzipper.AESZipFile(io.BytesIO(data))
    (entry,) = book.infolist()
    assert (entry.wz_aes_strength, entry.filename) == (3, f"{batch.number}.{file_format.value}")  # 3: 256 bits
    with pytest.raises(RuntimeError, match="Bad password"):
        book.read(entry, pwd=b"wrong horse")
    inside = book.read(entry, pwd=b"correct horse")
    if file_format == ExportFormat.TXT:
        assert inside.decode().split() == [codes[0], codes[3], codes[4]]
    else:
        assert zipfile.ZipFile(io.BytesIO(inside)).testzip() is None
    assert note()["archive"] is True
    assert "correct horse" not in str(note())


# --- Print sheets -----------------------------------------------------------------------------------------------
@pytest.fixture
def no_font(settings: Any) -> None:
    """The fonts that every PDF reader has: nothing large is loaded."""
    settings.PRINT_FONT = "/nowhere.ttf"


@pytest.mark.usefixtures("no_font")
@pytest.mark.parametrize(("layout", "pages"), [(PrintLayout.A4_10, 2), (PrintLayout.A4_24, 1), (PrintLayout.ONE, 11)])
def test_a_print_sheet_has_as_many_pages_as_the_layout_needs(layout: PrintLayout, pages: int) -> None:
    batch, _codes = make_batch(quantity=11, name="Cloud server")
    data = handed(batch, ExportFormat.PDF, layout=layout)
    assert data.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", data)) == pages
    assert note() | {"reason": ""} == {"reason": "", "format": "pdf", "cards": 11, "layout": layout.value}


@pytest.mark.parametrize(("language", "says"), [("en", "Cloud server · 1 year"), ("zh-hans", "云服务器 · 1年")])
def test_a_printed_card_says_its_term_as_the_pages_do(language: str, says: str) -> None:
    batch, _codes = make_batch(quantity=1, term_months=12)
    with translation.override(language):
        assert printing.Words.of(batch).product == says


def test_chinese_is_set_in_an_embedded_subset() -> None:
    batch, _codes = make_batch(quantity=1)
    data = handed(batch, ExportFormat.PDF)
    assert re.search(rb"/FontFile[23]? ", data)
    assert re.search(rb"/BaseFont /[A-Z]{6}\+", data)
    assert len(data) < 100_000


@pytest.mark.usefixtures("no_font")
def test_the_qr_code_leads_to_picking_up_with_the_code_behind_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = make_batch(quantity=2, name="Cloud server")
    links: list[str] = []
    real = printing.segno.make_qr

    def noting(link: str, **kw: Any) -> Any:
        links.append(link)
        return real(link, **kw)

    monkeypatch.setattr(printing.segno, "make_qr", noting)
    handed(batch, ExportFormat.PDF)
    assert links == [f"http://127.0.0.1:8000/cards/redeem/#{group(code)}" for code in codes]


@pytest.mark.usefixtures("no_font")
def test_without_a_font_chinese_is_refused_and_latin_is_printed() -> None:
    batch, _codes = make_batch(quantity=1)
    before = AuditEvent.objects.count()
    with pytest.raises(NoPrintFont):
        handed(batch, ExportFormat.PDF)
    assert AuditEvent.objects.count() == before
    latin, codes = make_batch(quantity=1, name="Cloud server")
    assert group(codes[0]).encode() in b"".join(map(_inflated, _streams(handed(latin, ExportFormat.PDF))))


def _streams(data: bytes) -> list[bytes]:
    return re.findall(rb"stream\n(.*?)endstream", data, re.S)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.usefixtures("no_font")
@pytest.mark.usefixtures("no_font")
def test_the_answer_begins_before_the_first_sheet_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser shows a download once the headers are there; a sheet of 5,000 cards takes ten seconds and more."""
    set_sheets: list[int] = []
    blank = printing._blank
    monkeypatch.setattr(printing, "_blank", lambda *given: set_sheets.append(1) or blank(*given))
    batch, _codes = make_batch(name="Cloud server")
    handout = exports.hand_out(batch=batch, actor=None, reason="tests", file_format=ExportFormat.PDF)
    chunks = iter(handout)
    assert (next(chunks), set_sheets) == (b"", [])
    assert (next(chunks)[:5], set_sheets) == (b"%PDF-", [1])
    handout.close()


def test_too_many_cards_to_print_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "MOST_CARDS", 2)
    batch, _codes = make_batch(quantity=3, name="Cloud server")
    with pytest.raises(TooManyToPrint):
        handed(batch, ExportFormat.PDF)
    assert handed(batch, ExportFormat.PDF, serials=(1, 2)).startswith(b"%PDF-")


@pytest.mark.usefixtures("no_font")
@pytest.mark.parametrize("password", ["", "correct horse"])
def test_more_cards_than_a_print_file_holds_are_several_files(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "CARDS_A_FILE", 2)
    batch, codes = make_batch(quantity=5, name="Cloud server")
    use(batch, 2, UserFactory.create(), "R1")
    handout = exports.hand_out(
        batch=batch, actor=None, reason="shop", file_format=ExportFormat.PDF, layout=PrintLayout.ONE, password=password
    )
    book = pyzipper.AESZipFile(io.BytesIO(b"".join(handout)))
    book.setpassword(password.encode() or None)
    assert (handout.filename, handout.content_type) == (f"{batch.number}.pdf.zip", "application/zip")
    assert [bool(entry.flag_bits & 1) for entry in book.infolist()] == [bool(password)] * 2
    texts = {name: b"".join(map(_inflated, _streams(book.read(name)))) for name in book.namelist()}
    assert list(texts) == [f"{batch.number}-1-3.pdf", f"{batch.number}-4-5.pdf"]
    held = [[code for code in codes if group(code).encode() in text] for text in texts.values()]
    assert held == [[codes[0], codes[2]], codes[3:]]
    assert note()["cards"] == 4
