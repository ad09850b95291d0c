"""A member's cards and orders: his own, kept up to date, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.choices import OrderEventKind, OrderState, ServiceState
from orders.models import Order, OrderEvent

from .cast import ACCESS, alice, bob, client_of, place_order, put_into

__all__ = ["alice", "bob"]
pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def client(alice: User) -> Client:
    return client_of(alice)


@pytest.fixture
def order(alice: User) -> Order:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    return place_order(code=code, member=alice)


def many_orders(member: User, count: int) -> list[Order]:
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=count)
    return [place_order(code=code, member=member) for code in codes]


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


@pytest.mark.parametrize("url", ["/cards/", "/orders/", "/orders/{}/"])
def test_a_stranger_is_sent_to_sign_in(order: Order, url: str) -> None:
    assert Client().get(url.format(order.number)).status_code == 302


def test_a_stranger_who_asks_for_the_access_is_sent_to_sign_in(order: Order) -> None:
    assert Client().post(f"/orders/{order.number}/access/").status_code == 302


def test_a_stranger_is_sent_to_sign_in_from_the_fragment_too(order: Order) -> None:
    response = Client().get(f"/orders/{order.number}/status/")
    assert response["HX-Refresh"] == "true"
    assert order.number not in response.content.decode()


def test_bob_finds_nothing_of_alices(bob: User, order: Order) -> None:
    put_into(order, OrderState.ACTIVE)
    other = client_of(bob)
    for path in ("", "status/"):
        assert other.get(f"/orders/{order.number}/{path}").status_code == 404
    assert other.post(f"/orders/{order.number}/access/").status_code == 404
    for path in ("/cards/", "/orders/"):
        assert order.number not in other.get(path).content.decode()


def test_empty_lists_say_what_to_do_next(client: Client) -> None:
    assert "No card used yet" in client.get("/cards/").content.decode()
    assert "No orders yet" in client.get("/orders/").content.decode()


def test_the_cards_used(client: Client, order: Order) -> None:
    page = client.get("/cards/").content.decode()
    assert order.card is not None
    for text in (order.card.last4, "Virtual host", f'href="/orders/{order.number}/"', 'href="/cards/redeem/"'):
        assert text in page


def test_a_returned_card_is_not_a_used_one(client: Client, order: Order) -> None:
    assert order.card is not None
    order.card.uses.update(returned_at=order.created_at)
    assert order.number not in client.get("/cards/").content.decode()


@pytest.mark.parametrize("url", ["/cards/", "/orders/"])
def test_lists_go_by_pages_of_twenty_at_a_constant_number_of_queries(client: Client, alice: User, url: str) -> None:
    client.get(url)
    many_orders(alice, 2)
    few = queries_of(client, url)
    orders = many_orders(alice, 21)
    assert queries_of(client, url) == few
    first = client.get(url)
    assert len(first.context["page"]) == 20
    assert 'rel="next"' in first.content.decode()
    query = first.context["page"].next_query
    second = client.get(url, query)
    assert len(second.context["page"]) == 3
    assert orders[0].number in second.content.decode()
    assert 'rel="prev"' in second.content.decode()


def test_the_home_reads_the_newest_five_however_many_there_are(client: Client, alice: User) -> None:
    client.get("/")
    many_orders(alice, 2)
    few = queries_of(client, "/")
    many_orders(alice, 9)
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/")
    assert len(page.context["orders"]) == 5
    assert len(queries) == few
    assert not [query for query in queries if "COUNT(" in query["sql"].upper()]
    (read,) = [query["sql"] for query in queries if "orders_order" in query["sql"]]
    assert read.endswith("LIMIT 5")


# --- One order ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "says", "every"),
    [
        (OrderState.PENDING, "in the queue", "every 2s"),
        (OrderState.PROVISIONING, "being opened", "every 2s"),
        (OrderState.ACTIVE, "Your product is open.", None),
        (OrderState.NEEDS_ATTENTION, "your card is safe", "every 15s"),
        (OrderState.FAILED, "your card is safe", "every 15s"),
    ],
)
def test_each_state_in_plain_words(
    client: Client, order: Order, state: OrderState, says: str, every: str | None
) -> None:
    put_into(order, state, last_error="host 10.0.0.3 said: no")
    for url in (f"/orders/{order.number}/", f"/orders/{order.number}/status/"):
        page = client.get(url).content.decode()
        assert says in page
        assert (f'hx-trigger="{every}"' in page) if every else ("hx-trigger" not in page)
        assert "10.0.0.3" not in page
        assert "no capacity" not in page


def test_without_javascript_the_page_reloads_itself_until_it_is_open(client: Client, order: Order) -> None:
    assert 'http-equiv="refresh"' in client.get(f"/orders/{order.number}/").content.decode()
    put_into(order, OrderState.ACTIVE)
    assert 'http-equiv="refresh"' not in client.get(f"/orders/{order.number}/").content.decode()


def test_the_fragment_is_silent_until_something_changes(client: Client, order: Order) -> None:
    url = f"/orders/{order.number}/status/"
    seen = client.get(url).context["seen"]
    assert client.get(url, {"seen": seen}, headers=HTMX).status_code == 204
    OrderEvent.objects.create(order=order, kind=OrderEventKind.STARTED)
    assert "Opening started" in client.get(url, {"seen": seen}, headers=HTMX).content.decode()


def test_the_fragment_is_no_whole_page(client: Client, order: Order) -> None:
    assert "<html" not in client.get(f"/orders/{order.number}/status/").content.decode()


def test_access_details_only_when_asked_for_by_post(client: Client, order: Order) -> None:
    url = f"/orders/{order.number}/access/"
    assert client.post(url).status_code == 404
    put_into(order, OrderState.ACTIVE)
    page = client.get(f"/orders/{order.number}/")
    assert "Show access details" in page.content.decode()
    assert ACCESS["password"] not in page.content.decode()
    assert client.get(url).status_code == 405
    for headers in ({}, HTMX):
        response = client.post(url, headers=headers)
        assert ACCESS["password"] in response.content.decode()
        assert "no-store" in response["Cache-Control"]


def test_access_of_a_terminated_service_is_gone(client: Client, order: Order) -> None:
    put_into(order, OrderState.ACTIVE)
    order.service.state = order.service.wanted = ServiceState.TERMINATED
    order.service.save()
    assert client.post(f"/orders/{order.number}/access/").status_code == 404


def test_access_whose_key_is_missing_is_said_kindly(client: Client, order: Order, settings: Any) -> None:
    put_into(order, OrderState.ACTIVE)
    settings.ACCESS_KEYS = "other:" + "A" * 43 + "="
    assert "cannot be shown" in client.post(f"/orders/{order.number}/access/").content.decode()


def test_the_page_costs_the_same_however_much_happened(client: Client, order: Order) -> None:
    url = f"/orders/{order.number}/"
    client.get(url)
    few = queries_of(client, url)
    for _number in range(20):
        OrderEvent.objects.create(order=order, kind=OrderEventKind.RETRYING)
    assert queries_of(client, url) == few


@pytest.mark.parametrize("url", ["/orders/%00/", "/orders/%00/status/", "/staff/orders/%00/"])
def test_a_number_that_the_database_could_not_even_hold(url: str) -> None:
    assert client_of(UserFactory.create(superuser=True)).get(url).status_code == 404
