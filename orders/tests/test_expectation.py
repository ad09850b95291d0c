"""The time told to a member who waits: the median of late orders of that kind, or the usual one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts.models import User
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.expectation import USUAL, expected_time, in_words
from orders.models import Order

from .cast import alice, client_of, place_order, put_into

__all__ = ["alice"]
pytestmark = pytest.mark.django_db
SITE = ProductType.VIRTUAL_HOST


@pytest.fixture(autouse=True)
def _forget() -> None:
    cache.clear()


def open_after(member: User, minutes: list[float]) -> None:
    _batch, codes = make_batch(product_type=SITE, quantity=len(minutes))
    for code, taken in zip(codes, minutes, strict=True):
        order = put_into(place_order(code=code, member=member), "active")  # type: ignore[arg-type]
        now = timezone.now()
        Order.objects.filter(pk=order.pk).update(created_at=now - timedelta(minutes=taken), opened_at=now)


def test_the_median_of_those_opened_lately(alice: User) -> None:
    open_after(alice, [1, 2, 3, 4, 600])
    assert expected_time(SITE) == timedelta(minutes=3)
    assert expected_time(ProductType.BARE_METAL) == USUAL[ProductType.BARE_METAL]


def test_too_few_say_nothing(alice: User) -> None:
    open_after(alice, [9, 9, 9, 9])
    assert expected_time(SITE) == USUAL[SITE]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "within a minute"), (60, "within a minute"), (61, "within 2 minutes"),
                           (5400, "within 90 minutes"), (5401, "within 2 hours")],
)  # fmt: skip
def test_in_words(seconds: float, words: str) -> None:
    assert words in in_words(timedelta(seconds=seconds))


def test_the_page_tells_it_to_who_waits(alice: User) -> None:
    _batch, (code,) = make_batch(product_type=SITE, quantity=1)
    order = place_order(code=code, member=alice)
    page = client_of(alice).get(f"/orders/{order.number}/").content.decode()
    assert "It usually opens within a minute." in page
    put_into(order, "active")  # type: ignore[arg-type]
    assert "usually opens" not in client_of(alice).get(f"/orders/{order.number}/").content.decode()
