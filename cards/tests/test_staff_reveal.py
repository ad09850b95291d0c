"""Seeing one code in full: own permission, a reason and one's own password, once, and noted."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards import actions
from cards.choices import AuditAction
from cards.codes import group
from cards.models import AuditEvent, Batch

from .factories import make_batch
from .staff import client_of, staff_with, text_of, use

pytestmark = pytest.mark.django_db
TYPED = {"reason": "customer lost the mail", "password": PASSWORD}


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "reveal_card")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


def url(batch: Batch, serial: int = 1) -> str:
    return f"/staff/cards/{batch.pk}/{serial}/reveal/"


def reveals() -> Any:
    return AuditEvent.objects.filter(action=AuditAction.REVEAL)


def test_the_code_stands_in_the_answer_and_the_deed_in_the_audit_trail(client: Client, user: User) -> None:
    batch, codes = make_batch()
    asked = client.get(url(batch, 2))
    assert group(codes[1]) not in asked.content.decode()
    assert not reveals().exists()
    shown = client.post(url(batch, 2), TYPED, REMOTE_ADDR="192.0.2.7")
    assert shown.status_code == 200
    assert group(codes[1]) in text_of(shown)
    assert "no-store" in shown["Cache-Control"]
    event = reveals().get()
    assert (event.actor, event.batch, event.address) == (user, batch, "192.0.2.7")
    assert event.card == batch.cards.get(serial=2)
    assert event.detail == {"reason": "customer lost the mail", "serial": 2, "status": "unused"}
    assert group(codes[1]) not in client.get(url(batch, 2)).content.decode()


@pytest.mark.parametrize("typed", [TYPED | {"password": "wrong"}, TYPED | {"reason": ""}, {}])
def test_without_reason_or_password_nothing_is_shown(client: Client, typed: dict[str, str]) -> None:
    batch, codes = make_batch()
    answer = client.post(url(batch), typed or {"x": "y"})
    assert answer.status_code == 422
    assert group(codes[0]) not in answer.content.decode()
    assert not reveals().exists()


def test_a_used_card_has_no_code_any_more(client: Client) -> None:
    batch, codes = make_batch()
    use(batch, 1, UserFactory.create(), "R1")
    assert "no longer keeps" in text_of(client.get(url(batch)))
    answer = client.post(url(batch), TYPED)
    assert answer.status_code == 422
    assert group(codes[0]) not in answer.content.decode()
    assert not reveals().exists()


def test_a_disabled_card_can_be_looked_at_and_a_card_not_issued_yet_cannot(client: Client) -> None:
    batch, codes = make_batch()
    actions.disable_card(card=batch.cards.get(serial=1), actor=None)
    assert group(codes[0]) in text_of(client.post(url(batch), TYPED))
    Batch.objects.filter(pk=batch.pk).update(status="generating", issued=2)
    assert client.post(url(batch, 3), TYPED).status_code == 422
    assert reveals().count() == 1


def test_the_button_is_for_those_who_may(client: Client) -> None:
    batch, _codes = make_batch()
    detail = f"/staff/cards/{batch.pk}/"
    assert url(batch) in client.get(detail).content.decode()
    other = client_of(staff_with("view_batch", "download_batch"))
    html = other.get(detail).content.decode()
    assert url(batch) not in html
    assert f"/staff/cards/{batch.pk}/download/?serials=1" in html
    assert other.post(url(batch), TYPED).status_code == 403
