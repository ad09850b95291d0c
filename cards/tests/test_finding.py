"""Finding a card by what people have in hand, each reading by an index, the text never in an address or a page."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from accounts.tests.commands import run_json
from accounts.tests.factories import UserFactory
from cards import finding, replacement
from cards.codes import group
from cards.models import Batch, Card

from .factories import make_batch
from .staff import client_of, staff_with, table_of, text_of, use

pytestmark = pytest.mark.django_db

PAGE = "/staff/cards/find/"


@pytest.fixture
def made() -> tuple[Batch, list[str], User]:
    """Three cards, the second used by alice."""
    batch, codes = make_batch()
    alice = UserFactory.create(username="alice", email="Alice@Example.com", external_id="M-88")
    use(batch, 2, alice, "7K3M9-QPX2T")
    return batch, codes, alice


@pytest.fixture
def client() -> Client:
    return client_of(staff_with("view_batch", "view_card", "view_last4"))


def found(text: str) -> list[int]:
    return [card.serial for card in finding.find_cards(text).cards]


def test_every_way_to_say_it(made: tuple[Batch, list[str], User]) -> None:
    batch, codes, _alice = made
    make_batch()
    assert found(f" {group(codes[0]).lower()} ") == [1]
    assert found(codes[1]) == [2]
    for text in (f"{batch.pk}/3", f"{batch.pk} 3", f"{batch.number}/3", f"{batch.number.lower()} # 3"):
        assert found(text) == [3]
    assert 3 in found(codes[2][-4:].lower())
    for text in ("alice", "alice@example.com", "ALICE@example.com", "M-88"):
        assert found(text) == [2]
    for text in ("bob", "999999/1", f"{batch.pk}/9", "ZZZZZ", "x" * 200, "'; drop table"):
        assert found(text) == []


def test_a_member_without_a_number_of_his_own_is_found_by_ours() -> None:
    batch, _codes = make_batch()
    bob = UserFactory.create(username="bob")
    use(batch, 1, bob, "ORDER-1")
    assert found(str(bob.pk)) == [1]
    bob.external_id = "X1"
    bob.save(update_fields=["external_id"])
    assert found(str(bob.pk)) == []


def test_the_page_shows_what_it_found_and_never_what_was_typed(
    client: Client, made: tuple[Batch, list[str], User]
) -> None:
    batch, codes, _alice = made
    assert client.get(PAGE, {"q": codes[0]}).context.get("found") is None  # a code in an address is not read
    page = client.post(PAGE, {"q": codes[1]})
    (row,) = table_of(page)[1]
    assert row[:5] == [batch.number, batch.name, "2", f"••••• {codes[1][-4:]}", "Used"]
    assert "M-88" in row[5]
    assert "/staff/orders/7K3M9-QPX2T/" in page.content.decode()
    assert codes[1] not in page.content.decode()
    assert "No card was found." in text_of(client.post(PAGE, {"q": "bob"}))


def test_a_replaced_card_leads_to_its_replacement_and_back(client: Client, made: tuple[Batch, list[str], User]) -> None:
    batch, codes, _alice = made
    new, code = replacement.replace_card(card=batch.cards.get(serial=1), actor=None, reason="lost")
    assert f"replaced by {new.serial}" in text_of(client.post(PAGE, {"q": codes[0]}))
    assert "replaces 1" in text_of(client.post(PAGE, {"q": code}))
    detail = text_of(client.get(f"/staff/cards/{batch.pk}/"))
    assert f"replaced by {new.serial}" in detail
    assert "replaces 1" in detail


def test_a_serial_alone_is_told_what_is_missing(made: tuple[Batch, list[str], User]) -> None:
    client = client_of(staff_with("view_card", "view_batch"))
    assert "together with its batch, such as 78/17" in text_of(client.post(PAGE, {"q": "17"}))
    assert "a code has 25 characters" in text_of(client.post(PAGE, {"q": "nobody"}))


def test_what_was_found_can_be_disabled_at_once(made: tuple[Batch, list[str], User]) -> None:
    batch, codes, _alice = made
    disable = reverse("staff:card-disable", args=[batch.pk, 3])
    assert disable in client_of(staff_with("view_card", "disable_batch")).post(PAGE, {"q": codes[2]}).text
    assert disable not in client_of(staff_with("view_card")).post(PAGE, {"q": codes[2]}).text


def test_too_many_are_cut_off_and_said_so(
    client: Client, made: tuple[Batch, list[str], User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST", 1)
    batch, _codes, alice = made
    use(batch, 3, alice, "ORDER-3")
    assert "The newest 1 card; there are more." in text_of(client.post(PAGE, {"q": "alice"}))


def test_the_queries_do_not_grow_with_the_find(client: Client, made: tuple[Batch, list[str], User]) -> None:
    batch, _codes, alice = made
    counts = []
    for serial in (1, 3):
        use(batch, serial, alice, f"ORDER-{serial}")
        with CaptureQueriesContext(connection) as queries:
            client.post(PAGE, {"q": "alice"})
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.postgres(reason="plans are PostgreSQL's")
def test_no_reading_goes_through_the_table_of_cards(made: tuple[Batch, list[str], User]) -> None:
    batch, codes, _alice = made
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is small; is there an index that answers at all?
    for text in (codes[0], f"{batch.pk}/3", codes[2][-4:], "alice", "M-88", "1"):
        with CaptureQueriesContext(connection) as queries:
            finding.find_cards(text)
        for query in queries:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + query["sql"])
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert not re.search(r"Seq Scan on (cards_card|cards_carduse|accounts_user)", plan), f"{text}: {plan}"


def test_the_command_finds_by_member_and_by_last_four_alone(made: tuple[Batch, list[str], User]) -> None:
    _batch, codes, _alice = made
    assert [facts["serial"] for facts in run_json("find_card", "--member", "alice")] == [2]
    assert 3 in [facts["serial"] for facts in run_json("find_card", "--last4", codes[2][-4:].lower())]
    assert Card.objects.count() == 3
