"""The staff's order pages: who may see them, what they show, and the two repairs."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards.choices import AuditAction, ProductType
from cards.models import AuditEvent
from cards.tests.factories import make_batch
from orders import fulfilment
from orders.choices import AttemptOutcome, OrderEventKind, OrderState
from orders.models import Order, OrderEvent, ProvisioningAttempt
from orders.provisioning.simulator import Simulator

from .cast import alice, bob, client_of, place_order, put_into
from .simulated import plane

__all__ = ["alice", "bob", "plane"]
pytestmark = pytest.mark.django_db


def staff_with(*permissions: str) -> User:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def carol(db: None) -> User:
    """Staff who may look, restart and return."""
    return staff_with("view_order", "retry_order", "return_card", "view_last4")


@pytest.fixture
def client(carol: User) -> Client:
    return client_of(carol)


@pytest.fixture
def order(alice: User) -> Order:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    return place_order(code=code, member=alice)


@pytest.fixture
def failed(order: Order) -> Order:
    return put_into(order, OrderState.FAILED, last_error="no capacity left", attempts=3)


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def test_the_file_of_orders_names_its_currency_and_its_zone(client: Client, failed: Order) -> None:
    Order.objects.update(created_at="2026-11-23T16:30:05Z")
    headings, row = client.post("/staff/orders/csv/").getvalue().decode("utf-8-sig").splitlines()
    told = dict(zip(headings.split(","), row.split(","), strict=True))
    assert told["Currency"] == failed.currency
    assert told["Picked up at (Asia/Shanghai)"] == "2026-11-24 00:30:05"
    assert told["Opened at (Asia/Shanghai)"] == ""


@pytest.mark.parametrize("path", ["", "{}/", "{}/cancel/"])
def test_who_may_see_them(alice: User, failed: Order, path: str) -> None:
    url = "/staff/orders/" + path.format(failed.number)
    assert Client().get(url).status_code == 302
    assert client_of(alice).get(url).status_code == 403
    assert client_of(staff_with()).get(url).status_code == 403


def test_looking_is_not_repairing(failed: Order) -> None:
    looker = client_of(staff_with("view_order"))
    page = looker.get(f"/staff/orders/{failed.number}/").content.decode()
    assert "Restart the order" not in page
    assert "Cancel and return the card" not in page
    for act in ("retry", "cancel"):
        assert looker.post(f"/staff/orders/{failed.number}/{act}/").status_code == 403
    failed.refresh_from_db()
    assert failed.state == OrderState.FAILED


def test_the_list_is_filtered_and_searched(client: Client, alice: User, bob: User, failed: Order) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    other = place_order(code=code, member=bob)

    def found(**query: str) -> set[str]:
        return {order.number for order in client.get("/staff/orders/", query).context["page"]}

    assert found() == {failed.number, other.number}
    assert found(state="failed") == {failed.number}
    assert found(state="pending") == {other.number}
    assert found(q="bob") == {other.number}
    assert found(q=alice.email) == {failed.number}
    assert found(q=other.number.lower()) == {other.number}
    assert found(q="nobody") == set()
    assert "No order matches" in client.get("/staff/orders/", {"q": "nobody"}).content.decode()


def test_lists_cost_a_constant_number_of_queries(client: Client, alice: User, order: Order) -> None:
    client.get("/staff/orders/")
    few = queries_of(client, "/staff/orders/")
    for code in make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=5)[1]:
        place_order(code=code, member=alice)
    assert queries_of(client, "/staff/orders/") == few


def test_the_detail_shows_everything_but_the_secrets(client: Client, failed: Order) -> None:
    ProvisioningAttempt.objects.create(
        order=failed, fence=1, outcome=AttemptOutcome.PERMANENT, error="quota of project exceeded"
    )
    page = client.get(f"/staff/orders/{failed.number}/").content.decode()
    assert failed.card is not None
    for text in (
        "alice",
        failed.card.last4,
        "Web space (GB)",
        "no capacity left",
        "Could not be opened",
        "quota of project exceeded",
        "Refused",
        str(failed.key),
    ):
        assert text in page


class TestOutOfCapacity:
    """Told apart from what passes by itself: somebody has to add some."""

    @pytest.fixture
    def waiting(self, plane: Simulator, order: Order) -> Order:
        plane.arm("no_capacity")
        fulfilment.run(order.pk)
        order.refresh_from_db()
        return order

    def test_an_order_that_waits_for_it_says_so_and_when_it_is_tried_again(
        self, client: Client, waiting: Order
    ) -> None:
        page = client.get(f"/staff/orders/{waiting.number}/").content.decode()
        assert "This order waits for capacity" in page
        assert page.count("The provisioner is full, or our quota there is used up.") == 2  # above, and the attempt's
        again = timezone.localtime(waiting.next_attempt_at)
        assert f'The order is tried again by itself: <time datetime="{again.isoformat()}"' in page
        assert timezone.now() < again

    def test_one_that_came_to_a_person_says_what_to_do(self, client: Client, waiting: Order) -> None:
        put_into(waiting, OrderState.NEEDS_ATTENTION)
        page = client.get(f"/staff/orders/{waiting.number}/").content.decode()
        assert "machines in the inventory. Then restart the order." in page
        assert "waits for capacity" not in page

    def test_other_trouble_is_not_taken_for_it(self, client: Client, plane: Simulator, order: Order) -> None:
        plane.arm("transient")
        fulfilment.run(order.pk)
        page = client.get(f"/staff/orders/{order.number}/").content.decode()
        assert "the same may succeed later" in page
        assert "capacity" not in page


def test_the_detail_costs_the_same_however_much_happened(client: Client, carol: User, failed: Order) -> None:
    url = f"/staff/orders/{failed.number}/"
    client.get(url)
    few = queries_of(client, url)
    for fence in range(1, 15):
        ProvisioningAttempt.objects.create(order=failed, fence=fence)
        OrderEvent.objects.create(order=failed, kind=OrderEventKind.RETRIED, actor=carol)
    assert queries_of(client, url) == few


def test_restarting_a_failed_order(client: Client, carol: User, failed: Order) -> None:
    url = f"/staff/orders/{failed.number}/retry/"
    assert client.get(url).status_code == 405
    response = client.post(url, {"note": "capacity was added"}, REMOTE_ADDR="192.0.2.99")
    assert response.url == f"/staff/orders/{failed.number}/"
    failed.refresh_from_db()
    assert failed.state == OrderState.PENDING
    event = failed.events.get(kind=OrderEventKind.RETRIED)
    assert (event.actor, event.note) == (carol, "capacity was added")
    assert AuditEvent.objects.get(action=AuditAction.FIX_ORDER).address == "192.0.2.99"


@pytest.mark.parametrize("act", ["retry", "cancel"])
@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.PROVISIONING, OrderState.ACTIVE])
def test_no_repair_for_what_is_not_broken(client: Client, order: Order, act: str, state: OrderState) -> None:
    put_into(order, state)
    page = client.get(f"/staff/orders/{order.number}/").content.decode()
    assert "Restart the order" not in page
    assert client.post(f"/staff/orders/{order.number}/{act}/").status_code == 302
    order.refresh_from_db()
    assert order.state == state
    assert not order.events.filter(kind__in=[OrderEventKind.RETRIED, OrderEventKind.CANCELLED]).exists()


def test_cancelling_says_what_will_happen_and_then_does_it(client: Client, carol: User, failed: Order) -> None:
    url, card = f"/staff/orders/{failed.number}/cancel/", failed.card
    assert card is not None
    page = client.get(url).content.decode()
    assert f"ends in {card.last4}, can be used again by whoever holds its code." in page
    for unproven in ({"reason": ""}, {"reason": "asked for by telephone"}, {"password": PASSWORD}):
        assert client.post(url, unproven).status_code == 422
    failed.refresh_from_db()
    assert failed.state == OrderState.FAILED
    client.post(url, {"reason": "asked for by telephone", "password": PASSWORD})
    failed.refresh_from_db()
    card.refresh_from_db()
    assert (failed.state, failed.returned_card, card.status) == (OrderState.CANCELLED, card, "unused")
    assert failed.events.get(kind=OrderEventKind.CANCELLED).actor == carol
    assert AuditEvent.objects.get(action=AuditAction.RETURN_CARD).detail["reason"] == "asked for by telephone"
    page = client.get(f"/staff/orders/{failed.number}/").content.decode()
    assert card.last4 in page
