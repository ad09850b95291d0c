"""The cast of the page tests: alice owns the order, bob is another member; and orders in any state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import vault
from cards.models import Card, CardUse
from orders import redemption
from orders.choices import OrderEventKind, OrderState
from orders.models import Order, OrderEvent, Service

ACCESS = {"address": "192.0.2.7", "port": "22", "username": "root", "password": "s3cret-access"}


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def place_order(*, code: str, member: User, image_id: int | None = None) -> Order:
    """A pending order, made by the real redemption; no worker is woken."""
    with muted():
        return redemption.redeem(code=code, member=member, image_id=image_id)


def put_into(order: Order, state: OrderState, **fields: Any) -> Order:
    """The order as a worker would have left it in `state`, with its event and, when open, its service."""
    now = timezone.now()
    order.state = state
    if state == OrderState.ACTIVE:
        order.opened_at, order.external_id = now, f"srv-{order.pk}"
        Service.objects.create(
            order=order,
            member=order.member,
            provider=order.provider,
            external_id=order.external_id,
            access=vault.seal_access(ACCESS, order_key=order.key),
            starts_at=now,
            expires_at=now + timedelta(days=365),
        )
        OrderEvent.objects.create(order=order, kind=OrderEventKind.OPENED)
    if state == OrderState.FAILED:
        OrderEvent.objects.create(order=order, kind=OrderEventKind.FAILED, note="no capacity left")
    for name, value in fields.items():
        setattr(order, name, value)
    order.save()
    return order


def assert_nothing_spent(card: Card) -> None:
    card.refresh_from_db()
    assert card.status != "used"
    assert not Order.objects.exists()
    assert not CardUse.objects.exists()


@pytest.fixture
def alice(db: None) -> User:
    return UserFactory.create(username="alice")


@pytest.fixture
def bob(db: None) -> User:
    return UserFactory.create(username="bob")
