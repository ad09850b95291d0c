"""The session ended between page and button: after sign-in he stands where the button is, and nothing is spent."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.choices import OrderState
from orders.models import Order

from .cast import alice, client_of, place_order, put_into

__all__ = ["alice"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def order(alice: User) -> Order:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    return put_into(place_order(code=code, member=alice), OrderState.ACTIVE)


@pytest.mark.parametrize(("view", "page"), [("access", "detail"), ("service-access", "service")])
def test_asking_for_access_details(order: Order, alice: User, view: str, page: str) -> None:
    button, home = (reverse(f"orders:{name}", args=[order.number]) for name in (view, page))
    response = Client().post(button)
    assert response.status_code == 302
    assert response.url == f"{reverse('account_login')}?{urlencode({'next': home}, safe='/')}"
    assert client_of(alice).get(home).status_code == 200
    fragment = Client().post(button, headers={"HX-Request": "true"})
    assert (fragment.content, fragment["HX-Refresh"]) == (b"", "true")
    assert b"s3cret-access" not in response.content


def test_confirming_a_card(alice: User) -> None:
    batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    response = Client().post("/cards/redeem/", {"step": "confirm", "code": code})
    assert response.url == f"{reverse('account_login')}?next=/cards/redeem/"
    assert code not in response.url
    assert batch.cards.get().status == "unused"
    assert client_of(alice).post("/cards/redeem/", {"step": "confirm", "code": code}).status_code == 303
