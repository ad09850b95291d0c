"""Disabling and enabling: the page says in numbers what will happen, the POST does it, once, with its audit row."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import actions
from cards.choices import AuditAction, CardStatus
from cards.models import AuditEvent, Batch

from .factories import make_batch
from .staff import client_of, staff_with, text_of, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "disable_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


@pytest.fixture
def batch() -> Batch:
    """Ten cards at 1000.00: two used, one disabled by itself, seven unused."""
    batch, _ = make_batch(quantity=10, reference_price=Decimal(1000))
    use(batch, 1, UserFactory.create(), "R1")
    use(batch, 2, UserFactory.create(), "R2")
    actions.disable_card(card=batch.cards.get(serial=3), actor=None)
    return batch


def events(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action))


def test_page_says_what_happens_and_does_nothing(client: Client, batch: Batch) -> None:
    shown = text_of(client.get(f"/staff/cards/{batch.pk}/disable/"))
    assert "This disables 7 unused cards, worth ¥7,000.00." in shown
    assert "2 used cards stay as they are." in shown
    batch.refresh_from_db()
    assert batch.disabled_at is None
    assert events(AuditAction.DISABLE_BATCH) == []


def test_disable_and_enable_a_batch(client: Client, user: User, batch: Batch) -> None:
    response = client.post(f"/staff/cards/{batch.pk}/disable/", {"reason": "stolen list"}, REMOTE_ADDR="192.0.2.7")
    assert (response.status_code, response["Location"]) == (302, f"/staff/cards/{batch.pk}/")
    batch.refresh_from_db()
    assert batch.disabled_at is not None
    (event,) = events(AuditAction.DISABLE_BATCH)
    assert (event.actor, event.batch, event.address, event.detail["reason"]) == (
        user,
        batch,
        "192.0.2.7",
        "stolen list",
    )
    shown = text_of(client.get(f"/staff/cards/{batch.pk}/enable/"))
    assert "This makes 7 unused cards, worth ¥7,000.00, usable again." in shown
    assert "1 card that was disabled by itself stays disabled." in shown
    client.post(f"/staff/cards/{batch.pk}/enable/", {"reason": ""})
    batch.refresh_from_db()
    assert batch.disabled_at is None
    assert batch.cards.get(serial=3).status == CardStatus.DISABLED


def test_second_disable_says_so_and_leaves_one_audit_row(client: Client, batch: Batch) -> None:
    client.post(f"/staff/cards/{batch.pk}/disable/", {"reason": ""})
    response = client.post(f"/staff/cards/{batch.pk}/disable/", {"reason": ""}, follow=True)
    assert "Nothing was changed: it is in that state already." in text_of(response)
    assert len(events(AuditAction.DISABLE_BATCH)) == 1


def test_disable_and_enable_one_card(client: Client, user: User, batch: Batch) -> None:
    url = f"/staff/cards/{batch.pk}/4/"
    assert "This disables one card, worth ¥1,000.00." in text_of(client.get(f"{url}disable/"))
    assert batch.cards.get(serial=4).status == CardStatus.UNUSED
    client.post(f"{url}disable/", {"reason": "lost"})
    assert batch.cards.get(serial=4).status == CardStatus.DISABLED
    event = events(AuditAction.DISABLE_CARD)[0]
    assert (event.actor, event.card, event.detail) == (
        user,
        batch.cards.get(serial=4),
        {"reason": "lost", "serial": 4},
    )
    client.post(f"{url}enable/", {"reason": ""})
    assert batch.cards.get(serial=4).status == CardStatus.UNUSED
    assert batch.cards.get(serial=5).status == CardStatus.UNUSED


def test_used_card_cannot_be_disabled(client: Client, batch: Batch) -> None:
    before = AuditEvent.objects.count()
    response = client.post(f"/staff/cards/{batch.pk}/1/disable/", {"reason": ""}, follow=True)
    assert "A used card cannot be disabled." in text_of(response)
    assert batch.cards.get(serial=1).status == CardStatus.USED
    assert AuditEvent.objects.count() == before


def test_used_card_is_told_apart_before_the_form(client: Client, batch: Batch) -> None:
    for deed, said in (("disable", "cannot be disabled."), ("enable", "there is nothing to enable.")):
        for response in (
            client.get(f"/staff/cards/{batch.pk}/1/{deed}/", follow=True),
            client.post(f"/staff/cards/{batch.pk}/1/{deed}/", {"reason": ""}, follow=True),
        ):
            assert said in text_of(response)
            assert response.redirect_chain == [(f"/staff/cards/{batch.pk}/?serial=1", 302)]


def test_the_message_offers_the_way_back(client: Client, batch: Batch) -> None:
    for place in (f"/staff/cards/{batch.pk}/", f"/staff/cards/{batch.pk}/4/"):
        done = client.post(f"{place}disable/", {"reason": ""}, follow=True)
        assert f'<a href="{place}enable/">Enable again</a>' in done.text
        undone = client.post(f"{place}enable/", {"reason": ""}, follow=True)
        assert "is enabled." in text_of(undone)
        assert "Enable again" not in undone.text


def test_overlong_reason_is_refused_beside_its_field(client: Client, batch: Batch) -> None:
    response = client.post(f"/staff/cards/{batch.pk}/disable/", {"reason": "x" * 201})
    assert "at most 200 characters" in text_of(response)
    batch.refresh_from_db()
    assert batch.disabled_at is None


def test_card_of_another_batch_is_not_found(client: Client, batch: Batch) -> None:
    assert client.get(f"/staff/cards/{batch.pk}/11/disable/").status_code == 404
    assert client.get(f"/staff/cards/{batch.pk + 1}/1/disable/").status_code == 404


def test_cards_still_to_be_generated_are_counted_as_unused(client: Client, batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(status="generating", quantity=1_000_000)
    assert "This disables 999,997 unused cards, worth ¥999,997,000.00." in text_of(
        client.get(f"/staff/cards/{batch.pk}/disable/")
    )
