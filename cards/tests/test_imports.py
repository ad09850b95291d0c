"""Codes of an earlier system: all of a file or nothing, told by line number, found by one look-up, hard to guess."""

from __future__ import annotations

import csv
import io
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions, codes, exports, generation, imports, lists, vault
from cards.actions import Validity
from cards.choices import ExportFormat, ProductType
from cards.models import AuditEvent, Batch, Card, CodeForm, Line
from cards.tests.factories import SPECS, ImageFactory, codes_of, make_batch
from orders import redemption
from orders.exceptions import AlreadyYours, MistypedCode, UnknownCode

pytestmark = pytest.mark.django_db

HEX = frozenset("0123456789ABCDEF")


def old_codes(count: int, *, alphabet: str = "0123456789abcdef", length: int = 16, seed: int = 7) -> list[str]:
    """Codes such as an earlier shop made; the seed makes the tests repeatable."""
    draw = random.Random(seed)  # noqa: S311 (test data)
    return ["".join(draw.choices(alphabet, k=length)) for _ in range(count)]


@pytest.fixture
def line() -> Line:
    return ImageFactory.create(line__name="香港 CN2").line


def take_in(line: Line, lines: list[str], **kw: Any) -> Batch:
    file = imports.read_codes(lines, alphabet=kw.pop("alphabet", HEX), length=kw.pop("length", None))
    batch = imports.import_batch(
        file=file,
        product_type=ProductType.CLOUD_SERVER,
        name="旧卡",
        line=line,
        spec=SPECS[ProductType.CLOUD_SERVER],
        term_months=12,
        validity=Validity.months(12),
        **kw,
    )
    assert batch is not None
    return batch


def assert_nothing_imported() -> None:
    assert (Batch.objects.count(), Card.objects.count(), CodeForm.objects.count(), AuditEvent.objects.count()) == (
        0, 0, 0, 0,
    )  # fmt: skip


def test_the_whole_file_becomes_a_ready_batch(line: Line) -> None:
    old = old_codes(50)
    batch = take_in(line, [f"{code}\r\n" for code in old] + ["\n"])
    assert (batch.status, batch.quantity, batch.generated, batch.issued, batch.code_bits) == ("ready", 50, 50, 50, 64)
    assert batch.guessable
    assert codes_of(batch) == old  # handed out as they were printed, not as they are looked up
    for card, code in zip(batch.cards.order_by("serial"), old, strict=True):
        assert (bytes(card.lookup), card.last4) == (vault.lookup(code.upper()), code[-4:].upper())
    assert list(CodeForm.objects.values_list("length", "symbols")) == [(16, "0123456789ABCDEF")]
    event = AuditEvent.objects.get()
    assert (event.action, event.detail["quantity"], event.detail["code_bits"]) == ("import_batch", 50, 64)
    assert not any(code in str(event.detail) for code in old)


@pytest.mark.parametrize(
    "spelled",
    [str, str.upper, lambda code: f" {code[:4]}-{code[4:8]} {code[8:]}\u200b", lambda code: f"{code[:5]}–{code[5:]}"],
)
def test_a_member_types_it_as_he_likes_and_it_works_once(line: Line, spelled: Any) -> None:
    old = old_codes(3)
    batch = take_in(line, old)
    member, image_id = UserFactory.create(), line.images.get().pk
    assert redemption.preview(code=spelled(old[1]), member=member).last4 == old[1][-4:].upper()
    with muted():
        order = redemption.redeem(code=spelled(old[1]), member=member, image_id=image_id)
    assert order.card == batch.cards.get(serial=2)
    with pytest.raises(AlreadyYours):
        redemption.redeem(code=old[1], member=member, image_id=image_id)
    with pytest.raises((UnknownCode, redemption.RedemptionRefused)):
        redemption.redeem(code=old[1], member=UserFactory.create(), image_id=image_id)


@pytest.mark.parametrize("first", ["=", "+", "@", "-", "%"])
def test_a_code_copied_from_a_csv_file_works(line: Line, first: str) -> None:
    """A spreadsheet would take it for a formula, so an apostrophe leads it in there."""
    old = [f"{first}{code}" for code in old_codes(3)]
    batch = take_in(line, old, alphabet=HEX | {first})
    table = b"".join(exports.hand_out(batch=batch, actor=None, reason="x", file_format=ExportFormat.CSV)).decode(
        "utf-8-sig"
    )
    cells = [row[1] for row in csv.reader(io.StringIO(table, newline=""))][1:]
    assert cells == [f"'{code}" for code in old]
    assert redemption.preview(code=cells[1], member=UserFactory.create()).last4 == old[1][-4:].upper()
    assert [listed.card_id for listed in lists.cards_of_lines(cells)] == list(
        batch.cards.order_by("serial").values_list("pk", flat=True)
    )


def test_a_mistyped_code_of_ours_is_still_answered_from_its_text(line: Line) -> None:
    take_in(line, old_codes(5))
    member = UserFactory.create()
    (code,) = codes.make(1)
    wrong = code[:-1] + ("0" if code[-1] != "0" else "2")
    with pytest.raises(MistypedCode) as mistyped:
        redemption.preview(code=wrong, member=member)
    assert mistyped.value.kind == "check"
    with pytest.raises(MistypedCode) as short:
        redemption.preview(code="ABC", member=member)
    assert short.value.kind == "length"


def test_an_imported_code_that_is_not_known_gets_the_plain_refusal(line: Line) -> None:
    take_in(line, old_codes(5))
    with pytest.raises(UnknownCode):
        redemption.preview(code=old_codes(1, seed=8)[0], member=UserFactory.create())


def test_without_imported_codes_other_texts_are_not_looked_up_at_all() -> None:
    with pytest.raises(MistypedCode):
        redemption.preview(code=old_codes(1)[0], member=UserFactory.create())


def test_a_code_is_looked_up_once_whatever_it_looks_like(line: Line, django_assert_num_queries: Any) -> None:
    """Known or not makes no difference to what the database is asked, so that the time tells nothing."""
    old = old_codes(2)
    take_in(line, old)
    make_batch(quantity=1)
    member, counted = UserFactory.create(), []
    for text in (old_codes(1, seed=9)[0], old_codes(1, seed=10)[0], codes.make(1)[0]):
        with pytest.raises(UnknownCode), django_assert_num_queries(connection_queries(text)) as asked:
            redemption.preview(code=text, member=member)
        counted.append(sum("cards_card" in query["sql"] for query in asked.captured_queries))
    assert counted == [1, 1, 1]


def connection_queries(text: str) -> int:
    """Three counters and a look-up; one more asks whether imported codes look like the text."""
    return 4 + (len(text) != codes.LENGTH)


BAD = [
    ("", None),
    ("A0B1C2D3E4F50617", None),
    ("a0b1-c2d3-e4f5-0617", "twice"),
    ("A0B1C2D3E4F50618,spare", "columns"),
    ("A0B1C2D3E4F5061旧", "symbol"),
    ("A" * 101, "long"),
    ("G0B1C2D3E4F50619", "alphabet"),
    ("A0B1C2", "length"),
    ("A0B1C2D3E4F50620", "known"),
]


def test_each_bad_line_is_told_by_its_number_and_never_by_its_code(line: Line) -> None:
    take_in(line, [BAD[-1][0]])
    before = Batch.objects.count(), Card.objects.count()
    file = imports.read_codes([text for text, _kind in BAD], alphabet=HEX, length=16)
    assert [(bad.number, bad.kind) for bad in file.bad] == [
        (number, kind) for number, (_text, kind) in enumerate(BAD, start=1) if kind
    ]
    assert file.bad[0].same_as == 2
    told = " ".join(map(str, file.bad)) + repr(file)
    assert not [text for text, _kind in BAD if text and text in told]
    with pytest.raises(imports.ImportRefused, match="7 lines cannot be imported"):
        imports.import_batch(
            file=file,
            product_type=ProductType.CLOUD_SERVER,
            name="旧卡",
            line=line,
            spec=SPECS[ProductType.CLOUD_SERVER],
            term_months=12,
            validity=Validity.months(12),
        )
    assert (Batch.objects.count(), Card.objects.count()) == before


def test_a_card_of_ours_is_known_in_any_spelling() -> None:
    _batch, (code, *_rest) = make_batch()
    file = imports.read_codes([codes.group(code).lower()])
    assert [(bad.number, bad.kind) for bad in file.bad] == [(1, "known")]


@pytest.mark.parametrize(
    ("lines", "alphabet", "bits"),
    [
        ([f"2021{number:012d}" for number in range(1000)], None, 9),  # in sequence: only three places vary
        ([f"GIFT-{code}" for code in old_codes(500, length=8)], None, 32),  # a common beginning counts nothing
        (old_codes(500, length=16), None, 64),
        (old_codes(500, length=10, alphabet="0123456789"), None, 33),
        (
            old_codes(500, length=12, alphabet="0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            None,
            62,
        ),
        (old_codes(1, length=16), HEX, 64),
        (old_codes(1, length=16), None, 0),
        (old_codes(3, length=16), HEX, 64),
        (["F" * 16, "F" * 15 + "0"], HEX, 4),
    ],
)
def test_how_hard_they_are_to_guess(lines: list[str], alphabet: frozenset[str] | None, bits: int) -> None:
    file = imports.read_codes(lines, alphabet=alphabet)
    assert (file.bad, file.bits) == ([], bits)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [("0-9a-f", "0123456789ABCDEF"), ("ACDEFGH", "ACDEFGH"), ("0-9ACX-Z=", "0123456789ACXYZ="), ("01", "01")],
)
def test_an_alphabet_is_declared_by_ranges_or_one_by_one(text: str, symbols: str) -> None:
    assert imports.alphabet_of(text) == set(symbols)


@pytest.mark.parametrize("text", ["", "A", "A-", "-", "9-0", "A-Z_", "A B", "A-Z'", "é-ü"])
def test_what_is_no_alphabet(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        imports.alphabet_of(text)


def test_codes_that_can_be_guessed_are_refused(line: Line) -> None:
    numbers = [f"{number:016d}" for number in range(1000, 2000)]
    with pytest.raises(imports.ImportRefused, match=r"too easy to guess: 9 bits .* 50 are needed for 1,000"):
        take_in(line, numbers, alphabet=None)
    assert_nothing_imported()


@pytest.mark.parametrize(("count", "least"), [(1, 40), (2, 41), (16, 44), (17, 45)])
def test_more_codes_must_be_harder_to_guess(line: Line, count: int, least: int) -> None:
    """Sixteen codes among so many possible ones are found sixteen times as soon."""

    def of(bits: int) -> list[str]:
        """Codes of so many positions of one bit each, all of which vary."""
        return [f"{number:0{bits}b}" for number in [2**bits - 1, *range(count - 1)]]

    declared = imports.alphabet_of("01")
    with pytest.raises(imports.ImportRefused, match=f"{least - 1} bits .* {least} are needed"):
        take_in(line, of(least - 1), alphabet=declared)
    assert_nothing_imported()
    assert take_in(line, of(least), alphabet=declared).code_bits == least


def test_a_code_that_comes_in_between_reading_and_writing_stops_all_of_it(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = old_codes(20)
    take_in(line, old[15:16])
    monkeypatch.setattr(imports, "known_lines", lambda file: [])  # as if it had come in a moment later
    monkeypatch.setattr(imports, "CHUNK", 4)
    with pytest.raises(imports.ImportRefused, match="meanwhile"):
        take_in(line, old)
    assert (Batch.objects.count(), Card.objects.count()) == (1, 1)


def test_a_crash_half_way_leaves_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 4)
    whole, calls = generation.write_rows, []

    def crash(batch_id: int, rows: list[Any]) -> None:
        whole(batch_id, rows)
        calls.append(Card.objects.count())
        if len(calls) == 3:
            raise RuntimeError("killed")

    monkeypatch.setattr(generation, "write_rows", crash)
    with pytest.raises(RuntimeError):
        take_in(line, old_codes(20))
    assert calls == [4, 8, 12]
    assert_nothing_imported()


def test_the_same_token_imports_once(line: Line) -> None:
    token = uuid.uuid4()
    batch = take_in(line, old_codes(3), request_token=token)
    file = imports.CodeFile()  # what the second call brings does not matter
    again = imports.import_batch(
        file=file, product_type="", name="", line=line, spec={}, term_months=0, validity=Validity.months(1),
        request_token=token,
    )  # fmt: skip
    assert again == batch
    assert Card.objects.count() == 3


def test_codes_of_several_lengths(line: Line) -> None:
    batch = take_in(line, old_codes(3) + old_codes(3, length=20), alphabet=HEX)
    assert batch.code_bits == 64
    assert list(CodeForm.objects.order_by("length").values_list("length", flat=True)) == [16, 20]


def test_imported_cards_are_switched_and_returned_like_others(line: Line) -> None:
    old = old_codes(3)
    batch = take_in(line, old)
    card = batch.cards.get(serial=1)
    actions.disable_card(card=card, actor=None)
    actions.enable_card(card=card, actor=None)
    with muted():
        redemption.redeem(code=old[0], member=UserFactory.create(), image_id=line.images.get().pk)


def terms(*more: object) -> list[object]:
    return ["--type", "cloud_server", "--name", "旧卡", "--line", "香港 CN2", "--valid-months", 12, *more]


def test_the_command_imports_a_file(line: Line, tmp_path: Path) -> None:
    file = tmp_path / "old.txt"
    file.write_text("\ufeff" + "\r\n".join(old_codes(500)), "utf-8")
    facts = run_json("import_cards", file, *terms())
    assert (facts["codes"], facts["code_bits"], facts["batch"]["quantity"]) == (500, 64, 500)
    assert "counted from the characters seen" in facts["counted"]
    assert Batch.objects.get().status == "ready"


def test_the_command_reads_standard_input_and_a_dry_run_imports_nothing(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "\n".join(old_codes(3)))
    text = run("import_cards", "-", *terms("--alphabet", "0-9a-f", "--dry-run"))
    assert "3 codes, 64 bits: 16 declared characters" in text
    assert_nothing_imported()


def test_the_command_names_bad_lines_fails_and_prints_no_code(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = old_codes(3)
    file = tmp_path / "old.txt"
    file.write_bytes("\n".join([*good, good[0], "x;y"]).encode() + b"\n\xff\xfe\n")
    with pytest.raises(CommandError, match="3 lines cannot be imported; nothing was imported"):
        call_command("import_cards", str(file), *map(str, terms("--alphabet", "0-9a-f")))
    told = capsys.readouterr().out
    assert "Line 4 holds the same code as line 1." in told
    assert "Line 5 has more than one column" in told
    assert "Line 6 holds a character that codes cannot have." in told
    assert not any(code in told for code in good)
    assert_nothing_imported()


@pytest.mark.parametrize("text", ["9-0", "A-", "", "A", "旧卡"])
def test_an_alphabet_that_is_none(text: str) -> None:
    with pytest.raises((ValueError, codes.BadCode)):
        imports.alphabet_of(text)
