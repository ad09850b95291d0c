"""Disabling a selection or a list of cards: a result for every line, in portions, the codes left nowhere."""

from __future__ import annotations

import logging
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from cards import actions, lists
from cards.codes import group, make
from cards.lists import Listed, pack, unpack
from cards.models import AuditEvent, Batch, Card

from .factories import make_batch
from .staff import client_of, staff_with, table_of, text_of, use

pytestmark = pytest.mark.django_db

PAGE = "/staff/cards/disable/"


@pytest.fixture
def batch_and_codes() -> tuple[Batch, list[str]]:
    """Six cards at 1000.00: the first used, the second disabled."""
    batch, codes = make_batch(quantity=6, reference_price=Decimal(1000))
    use(batch, 1, UserFactory.create(), "ORDER-1")
    actions.disable_card(card=batch.cards.get(serial=2), actor=None)
    return batch, codes


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "disable_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


def all_sorts(codes: list[str]) -> list[str]:
    return [group(codes[0]), codes[1].lower(), "", codes[2], f" {codes[3]} ", *make(1), "nonsense!", codes[2]]


OUTCOMES = [
    (1, "used"),
    (2, "already"),
    (4, "disabled"),
    (5, "disabled"),
    (6, "unknown"),
    (7, "unknown"),  # it might be an imported code
    (8, "twice"),
]


def statuses(batch: Batch) -> list[str]:
    return list(batch.cards.order_by("serial").values_list("status", flat=True))


def test_a_result_for_every_line(batch_and_codes: tuple[Batch, list[str]]) -> None:
    batch, codes = batch_and_codes
    actor = UserFactory.create(staff=True)
    lines = lists.cards_of_lines([*all_sorts(codes), "旧卡"])
    expected = [*OUTCOMES, (9, "no_code")]
    assert [(result.line.number, result.outcome) for result in lists.foreseen(lines)] == [
        (number, outcome.replace("disabled", "to_disable")) for number, outcome in expected
    ]
    assert statuses(batch) == ["used", "disabled", "unused", "unused", "unused", "unused"]
    results = lists.disable_cards(lines=lines, actor=actor, reason="leaked", address="192.0.2.7")
    assert [(result.line.number, result.outcome) for result in results] == expected
    assert statuses(batch) == ["used", "disabled", "disabled", "disabled", "unused", "unused"]
    event = AuditEvent.objects.get(action="disable_cards")
    assert (event.actor, event.batch, event.address) == (actor, batch, "192.0.2.7")
    assert event.detail == {"reason": "leaked", "cards": 2, "serials": [3, 4]}
    again = Counter(result.outcome for result in lists.disable_cards(lines=lines, actor=actor))
    assert again == {"already": 3, "used": 1, "unknown": 2, "no_code": 1, "twice": 1}
    assert AuditEvent.objects.filter(action="disable_cards").count() == 1
    assert not any(code in repr(results) for code in codes)


def test_in_bounded_transactions_that_stay_done(
    batch_and_codes: tuple[Batch, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, codes = batch_and_codes
    monkeypatch.setattr(lists, "PORTION", 2)
    lines, portions, real = lists.cards_of_lines(codes), [], lists._disable_portion
    by_id = batch.cards.order_by("pk").values_list("status", flat=True)  # the order in which they are locked
    before = list(by_id)

    def stop_at_third(part: Any, *args: Any) -> Any:
        portions.append(len(part))
        if len(portions) == 3:
            raise RuntimeError("killed")
        return real(part, *args)

    with monkeypatch.context() as patch:
        patch.setattr(lists, "_disable_portion", stop_at_third)
        with pytest.raises(RuntimeError):
            lists.disable_cards(lines=lines, actor=None)
    assert portions == [2, 2, 2]
    assert list(by_id.all()) == [status.replace("unused", "disabled") for status in before[:4]] + before[4:]
    lists.disable_cards(lines=lines, actor=None)
    assert list(by_id.all()) == [status.replace("unused", "disabled") for status in before]


def test_cards_of_several_batches_have_an_audit_row_each() -> None:
    (first, codes), (second, more) = make_batch(), make_batch()
    lists.disable_cards(lines=lists.cards_of_lines([codes[0], more[1], codes[2]]), actor=None)
    events = {event.batch: event.detail["serials"] for event in AuditEvent.objects.filter(action="disable_cards")}
    assert events == {first: [1, 3], second: [2]}


def test_queries_grow_with_portions_not_with_lines() -> None:
    _batch, codes = make_batch(quantity=60)
    asked = []
    for count in (20, 40):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            lists.disable_cards(lines=lists.cards_of_lines(codes[:count]), actor=None)
        asked.append(len(queries))
    assert asked[0] == asked[1] < 12


def test_lines_survive_the_hidden_field_and_nonsense_does_not() -> None:
    lines = [*lists.cards_of_lines(["x"]), Listed(2, 5501)]
    assert unpack(pack(lines)) == lines
    for text in ("1", "1:", "x:1", "1:stolen", "1:5:6"):
        with pytest.raises(ValueError, match=r".*"):
            unpack(text)


# --- Pages ----------------------------------------------------------------------------------------------------------
def confirm(client: Client, page: Any, **more: str) -> Any:
    fields = {name: page.context["form"][name].value() for name in ("lines", "by_serial", "reason")}
    return client.post(PAGE, {"step": "confirm", **fields, **more})


def test_pasted_codes_are_foreseen_then_disabled(
    client: Client, user: User, batch_and_codes: tuple[Batch, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    batch, codes = batch_and_codes
    page = client.post(PAGE, {"codes": "\r\n".join(all_sorts(codes)), "reason": "leaked"})
    seen = text_of(page)
    assert "This disables 2 cards. They are worth ¥2,000.00." in seen
    assert [(int(row[0]), row[3]) for row in table_of(page)[1]] == [
        (1, "Used, stays as it is"),
        (2, "Disabled already"),
        (4, "To be disabled"),
        (5, "To be disabled"),
        (6, "No card has this code"),
        (7, "No card has this code"),
        (8, "Same card as an earlier line"),
    ]
    assert statuses(batch)[2:4] == ["unused", "unused"]
    done = confirm(client, page)
    assert "2 cards were disabled." in text_of(done)
    assert statuses(batch) == ["used", "disabled", "disabled", "disabled", "unused", "unused"]
    event = AuditEvent.objects.get(action="disable_cards")
    assert (event.actor, event.detail["reason"]) == (user, "leaked")
    for text in (page.content.decode(), done.content.decode(), caplog.text, str(client.session.items())):
        assert not any(code in text.replace("-", "") for code in codes)


def test_a_file_of_codes(client: Client, batch_and_codes: tuple[Batch, list[str]]) -> None:
    batch, codes = batch_and_codes
    file = SimpleUploadedFile("leaked.txt", "\ufeff".encode() + "\r\n".join(map(group, codes[4:])).encode())
    confirm(client, client.post(PAGE, {"file": file, "codes": ""}))
    assert statuses(batch)[4:] == ["disabled", "disabled"]


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        ({"codes": " \n "}, "Paste codes or choose a file."),
        ({"codes": "x\n" * 10_001}, "At most 10,000 codes at a time."),
        ({"codes": "x", "file": SimpleUploadedFile("a.txt", b"x")}, "not both"),
        ({"file": SimpleUploadedFile("a.txt", b"x" * (1024 * 1024 + 1))}, "larger than 1 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_list(client: Client, posted: dict[str, Any], said: str) -> None:
    response = client.post(PAGE, posted)
    assert (response.status_code, said in text_of(response)) == (422, True)


def test_an_upload_never_touches_the_disk(settings: Any) -> None:
    assert [name.rpartition(".")[2] for name in settings.FILE_UPLOAD_HANDLERS] == ["MemoryFileUploadHandler"]


def test_a_selection_on_the_batchs_page(client: Client, batch_and_codes: tuple[Batch, list[str]]) -> None:
    batch, _codes = batch_and_codes
    shown = client.get(f"/staff/cards/{batch.pk}/").content.decode()
    assert [serial for serial in range(1, 7) if f'name="serial" value="{serial}"' in shown] == [3, 4, 5, 6]
    page = client.post(f"/staff/cards/{batch.pk}/disable-selection/", {"serial": ["1", "3", "5", "99", "x"]})
    assert [row[0] for row in table_of(page)[1]] == ["1", "3", "5"]
    assert "This disables 2 cards." in text_of(page)
    done = confirm(client, page, reason="leaked")
    assert "Serial" in table_of(done)[0]
    assert statuses(batch) == ["used", "disabled", "disabled", "unused", "disabled", "unused"]


def test_nothing_selected_leads_back(client: Client, batch_and_codes: tuple[Batch, list[str]]) -> None:
    batch, _codes = batch_and_codes
    response = client.post(f"/staff/cards/{batch.pk}/disable-selection/")
    assert (response.status_code, response["Location"]) == (302, f"/staff/cards/{batch.pk}/")


def test_a_forged_confirmation_starts_again(client: Client) -> None:
    response = client.post(PAGE, {"step": "confirm", "lines": "1:stolen", "reason": ""})
    assert (response.status_code, response["Location"]) == (302, PAGE)


@pytest.mark.parametrize(
    ("language", "used", "button"), [("en", "Used, stays as it is", "Disable"), ("zh-hans", "已使用，保持不变", "禁用")]
)
def test_a_used_card_stays_and_it_is_said_so(
    user: User, batch_and_codes: tuple[Batch, list[str]], language: str, used: str, button: str
) -> None:
    batch, codes = batch_and_codes
    user.language = language
    user.save(update_fields=["language"])
    page = client_of(user).post(PAGE, {"codes": codes[0]})
    assert table_of(page)[1][0][3] == used
    assert f">{button}</button>" not in page.content.decode()
    assert statuses(batch)[0] == "used"


# --- The command ----------------------------------------------------------------------------------------------------
def test_the_command_says_what_became_of_each_line(
    batch_and_codes: tuple[Batch, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch, codes = batch_and_codes
    staff = UserFactory.create(staff=True)
    file = tmp_path / "leaked.txt"
    file.write_text("\n".join(all_sorts(codes)))
    with pytest.raises(CommandError, match="3 of 7 lines stand for no disabled card"):
        call_command("disable_cards", str(file), "--actor", staff.username, "--reason", "leaked")
    said = capsys.readouterr().out
    assert f"line     4  {batch.number} / 3" in said
    assert not any(code in said.replace("-", "") for code in codes)
    assert statuses(batch) == ["used", "disabled", "disabled", "disabled", "unused", "unused"]
    assert AuditEvent.objects.get(action="disable_cards").actor == staff


def test_the_command_on_standard_input_and_dry(
    batch_and_codes: tuple[Batch, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, codes = batch_and_codes
    by = ("--actor", UserFactory.create(staff=True).username)
    type_in(monkeypatch, "\n".join(codes[2:4]))
    assert run_json("disable_cards", "-", *by, "--dry-run")["counts"] == {"to_disable": 2}
    assert not Card.objects.filter(batch=batch, serial=3, status="disabled").exists()
    type_in(monkeypatch, "\n".join(codes[2:4]))
    assert "disabled: 2" in run("disable_cards", "-", *by)
    type_in(monkeypatch, "\n")
    with pytest.raises(CommandError, match="holds no code"):
        run("disable_cards", "-", *by)
