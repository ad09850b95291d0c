"""Between looking and confirming the world may change, and a confirmation may come twice: nothing lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from orders.models import Order

from .cast import alice, client_of
from .test_redemption import Shop, rows

__all__ = ["alice"]
pytestmark = pytest.mark.django_db
URL = "/cards/redeem/"


@pytest.fixture
def shop(db: None) -> Shop:
    return Shop()


def look(client: Client, shop: Shop) -> str:
    return client.post(URL, {"step": "check", "code": shop.code}).content.decode()


def confirm(client: Client, shop: Shop) -> Any:
    return client.post(URL, {"step": "confirm", "code": shop.code, "image": shop.debian.pk, "agreed": "0"})


def reopen_line(shop: Shop) -> None:
    shop.line.active = True
    shop.line.save(update_fields=["active"])


def offer_again(shop: Shop) -> None:
    shop.debian.active = True
    shop.debian.save(update_fields=["active"])


@pytest.mark.parametrize(
    ("withdraw", "words", "restore"),
    [
        (Shop.close_line, "takes no orders at the moment. Your card has not been used", reopen_line),
        (Shop.retire_image, "operating systems offered. Your card has not been used", offer_again),
    ],
)
def test_withdrawn_between_looking_and_confirming(
    shop: Shop, alice: User, withdraw: Callable[[Shop], None], words: str, restore: Callable[[Shop], None]
) -> None:
    client = client_of(alice)
    assert "Debian 12" in look(client, shop)
    withdraw(shop)
    before = rows()
    assert words in confirm(client, shop).content.decode()
    assert rows() == before
    restore(shop)
    assert confirm(client, shop).status_code == 303


def again(client: Client, shop: Shop) -> Any:
    return confirm(client, shop)


def another_tab(client: Client, shop: Shop) -> Any:
    return client.post(URL, {"step": "check", "code": shop.code})


def back_and_another_system(client: Client, shop: Shop) -> Any:
    return client.post(URL, {"step": "confirm", "code": shop.code, "image": shop.windows.pk, "agreed": "360"})


@pytest.mark.parametrize("retry", [again, another_tab, back_and_another_system])
@pytest.mark.parametrize("later", [timedelta(0), timedelta(days=1), timedelta(days=400)])
def test_sent_again_it_is_the_same_order(
    shop: Shop, alice: User, monkeypatch: pytest.MonkeyPatch, retry: Callable[..., Any], later: timedelta
) -> None:
    """A double click, a lost reply, the back button, a second tab, the next day, and after the card's last day."""
    client = client_of(alice)
    first = confirm(client, shop)
    order, before = Order.objects.get(), rows()
    at = timezone.now() + later
    monkeypatch.setattr(timezone, "now", lambda: at)
    response = retry(client_of(alice) if later else client, shop)
    assert (response.status_code, response["Location"]) == (303, first["Location"])
    assert first["Location"] == f"/orders/{order.number}/"
    assert rows() == before
