"""Replacing a card in the staff backend: a reason, a proof, the new code once, and every refusal in both languages."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import replacement, vault
from cards.codes import normalise
from cards.models import AuditEvent, Batch, Card, Replacement

from .factories import make_batch
from .staff import client_of, staff_with, text_of, use

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "replace_card")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


@pytest.fixture
def batch() -> Batch:
    return make_batch()[0]


def url(batch: Batch, serial: int) -> str:
    return f"/staff/cards/{batch.pk}/{serial}/replace/"


def shown_code(page: Any) -> str:
    html = page.content.decode()
    start = html.index('id="new-code">') + len('id="new-code">')
    return normalise(html[start : html.index("<", start)])


def test_the_new_code_is_shown_once(client: Client, user: User, batch: Batch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page = client.post(url(batch, 2), {"reason": "lost", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    code = shown_code(page)
    new = Card.objects.get(lookup=vault.lookup(code))
    assert (new.serial, new.replaces.old.serial) == (4, 2)
    event = AuditEvent.objects.get(action="replace_card")
    assert (event.actor, event.address, event.detail["reason"]) == (user, "192.0.2.7", "lost")
    again = client.post(url(batch, 2), {"reason": "lost", "password": PASSWORD})
    assert (again.status_code, "was replaced by a new one" in text_of(again)) == (422, True)
    assert Replacement.objects.count() == 1
    for address in (f"/staff/cards/{batch.pk}/", url(batch, 4)):
        assert code not in client.get(address).content.decode().replace("-", "")
    assert code not in caplog.text.replace("-", "")


@pytest.mark.parametrize(
    "posted", [{"reason": "lost"}, {"reason": "lost", "password": "wrong"}, {"password": PASSWORD}]
)
def test_without_reason_or_proof_nothing_happens(client: Client, batch: Batch, posted: dict[str, str]) -> None:
    assert client.post(url(batch, 1), posted).status_code == 422
    assert not Replacement.objects.exists()
    assert batch.cards.get(serial=1).status == "unused"


@pytest.mark.parametrize(
    ("language", "used", "replaced"),
    [
        ("en", "A used card cannot be replaced.", "This card was replaced by a new one."),
        ("zh-hans", "已使用的提货卡不能补换", "此提货卡已补换为新卡"),
    ],
)
def test_refusals_are_said(user: User, batch: Batch, language: str, used: str, replaced: str) -> None:
    user.language = language
    user.save(update_fields=["language"])
    client = client_of(user)
    use(batch, 1, UserFactory.create(), "ORDER-1")
    assert used in text_of(client.post(url(batch, 1), {"reason": "lost", "password": PASSWORD}))
    replacement.replace_card(card=batch.cards.get(serial=2), actor=None, reason="lost")
    assert replaced in text_of(client.post(url(batch, 2), {"reason": "lost", "password": PASSWORD}))
    assert Replacement.objects.count() == 1


def test_the_button_stands_where_it_can_be_pressed(client: Client, batch: Batch) -> None:
    use(batch, 1, UserFactory.create(), "ORDER-1")
    replacement.replace_card(card=batch.cards.get(serial=2), actor=None, reason="lost")
    shown = client.get(f"/staff/cards/{batch.pk}/").content.decode()
    assert [serial for serial in range(1, 5) if url(batch, serial) in shown] == [3, 4]
