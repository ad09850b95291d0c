"""kill -9 before and after each commit, call and publication of every operation on an order: it all comes right.

`make crash-points` kills each RUNS times; the default suite kills the opening of a product once at each of its points.
After each kill the leases run out, whoever was acting acts again, and the sweep runs; then the books must balance.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards.models import Card
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders import actions, clean_up, dispatch, fulfilment, lifecycle, redemption, tasks
from orders.choices import IN_FLIGHT, OrderState
from orders.exceptions import AlreadyYours, OrderError
from orders.models import Order, Service
from orders.provisioning.simulator import Simulator, SimulatorProvisioner
from pickup_portal.invariants import INVARIANTS

from .crash import Point, crash, points_of
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)

RUNS = int(os.environ.get("RUNS", "10"))
SURCHARGE = Decimal(120)


class Shop:
    """Cards as needed, each sold with a surcharge to a member who can pay it."""

    def __init__(self) -> None:
        self.line = LineFactory.create(windows_monthly_price=Decimal(10))
        self.image = ImageFactory.create(line=self.line, operating_system__windows=True)
        self.member: User = UserFactory.create()
        self.staff: User = UserFactory.create(staff=True)
        self.codes: list[str] = []

    def card(self) -> str:
        if not self.codes:
            _batch, self.codes = make_batch(line=self.line, windows_policy="member_pays", quantity=50)
            amount = 50 * SURCHARGE
            record_entry(member=self.member, kind=LedgerKind.TOP_UP, amount=amount)
        return self.codes.pop()

    def redeem(self, code: str) -> Order:
        return redemption.redeem(code=code, member=self.member, image_id=self.image.pk, agreed=SURCHARGE)

    def order(self, **fields: Any) -> Order:
        with muted():
            order = self.redeem(self.card())
        Order.objects.filter(pk=order.pk).update(**fields)
        order.refresh_from_db()
        return order

    def stuck_with_leftover(self) -> Order:
        order = self.order()
        SimulatorProvisioner("simulator", {"delay": 0}).ensure(fulfilment.request_for(order))
        Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
        return order

    def tombstone(self) -> Order:
        order = self.order(state=OrderState.FAILED)
        actions.resolve_order(order=order, actor=self.staff, note="")
        SimulatorProvisioner("simulator", {"delay": 0}).ensure(fulfilment.request_for(order))
        Order.objects.filter(pk=order.pk).update(clean_up_at=timezone.now())
        return order

    def service(self) -> Service:
        order = self.order()
        assert fulfilment.run(order.pk)
        return Service.objects.get(order=order)


# --- what comes out in the end --------------------------------------------------------------------------------------
def open_once(order: Order, plane: Simulator) -> None:  # noqa: F811
    order.refresh_from_db()
    assert order.state == OrderState.ACTIVE
    assert len(plane.resources(key=order.key, deleted=True)) == 1
    assert Service.objects.filter(order=order).count() == 1
    charged = LedgerEntry.objects.get(reference=order.number)
    assert (charged.kind, charged.amount) == (LedgerKind.SURCHARGE, -SURCHARGE)


def given_back_once(order: Order, plane: Simulator) -> None:  # noqa: F811
    order.refresh_from_db()
    assert order.state == OrderState.CANCELLED
    assert plane.resources(key=order.key) == []
    assert Card.objects.get(pk=order.returned_card_id).status == "unused"
    assert LedgerEntry.objects.filter(reference=order.number, kind=LedgerKind.REFUND).count() == 1


def nothing_there(order: Order, plane: Simulator) -> None:  # noqa: F811
    order.refresh_from_db()
    assert order.state == OrderState.CLOSED
    assert plane.resources(key=order.key) == []


def shows(state: str) -> Callable[[Service, Simulator], None]:
    def check(service: Service, plane: Simulator) -> None:  # noqa: F811
        service.refresh_from_db()
        assert (service.state, service.wanted, service.needs_attention) == (state, state, False)
        (resource,) = plane.resources(key=service.order.key, deleted=True)
        assert resource.state == {"terminated": "deleted"}.get(state, state)

    return check


# --- the operations ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Operation:
    """`prepare` makes the subject, `act` does it to the subject (again after a crash), `check` looks at the end."""

    prepare: Callable[[Shop], Any]
    act: Callable[[Shop, Any], object]
    check: Callable[[Any, Simulator], None]


def redeem(shop: Shop, code: str) -> None:
    with suppress(AlreadyYours):
        shop.redeem(code)


def newest_is_open(code: str, plane: Simulator) -> None:  # noqa: F811
    open_once(Order.objects.latest("pk"), plane)


def suspend(shop: Shop, service: Service) -> None:
    actions.suspend_service(service=service, actor=shop.staff, reason="")
    lifecycle.work(service.pk)


def suspend_and_resume(shop: Shop, service: Service) -> None:
    with suppress(OrderError):
        suspend(shop, service)
    actions.resume_service(service=service, actor=shop.staff, reason="")
    lifecycle.work(service.pk)


def terminate(shop: Shop, service: Service) -> None:
    actions.terminate_service(service=service, actor=shop.staff, reason="")
    lifecycle.work(service.pk)


OPERATIONS = {
    "redeem": Operation(lambda shop: shop.card(), redeem, newest_is_open),
    "open": Operation(lambda shop: shop.order(), lambda shop, order: dispatch.work(order.pk), open_once),
    "sweep": Operation(
        lambda shop: shop.order(next_attempt_at=timezone.now()), lambda shop, order: tasks.sweep_orders(), open_once
    ),
    "restart": Operation(
        lambda shop: shop.stuck_with_leftover(),
        lambda shop, order: actions.retry_order(order=order, actor=shop.staff),
        open_once,
    ),
    "cancel": Operation(
        lambda shop: shop.stuck_with_leftover(),
        lambda shop, order: actions.cancel_order(order=order, actor=shop.staff),
        given_back_once,
    ),
    "close": Operation(
        lambda shop: shop.stuck_with_leftover(),
        lambda shop, order: actions.resolve_order(order=order, actor=shop.staff, note=""),
        nothing_there,
    ),
    "clean up": Operation(lambda shop: shop.tombstone(), lambda shop, order: clean_up.work(order.pk), nothing_there),
    "suspend": Operation(lambda shop: shop.service(), suspend, shows("suspended")),
    "resume": Operation(lambda shop: shop.service(), suspend_and_resume, shows("active")),
    "terminate": Operation(lambda shop: shop.service(), terminate, shows("terminated")),
}


def time_passes() -> None:
    """Leases run out, pauses end, and the sweep runs as often as it takes; no broker, no worker."""
    for _round in range(20):
        now = timezone.now()
        Order.objects.filter(state__in=IN_FLIGHT).update(next_attempt_at=now, lease_until=None)
        Order.objects.filter(clean_up_at__isnull=False).update(clean_up_at=now)
        Service.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=now, lease_until=None)
        work = dispatch.sweep_inline() + lifecycle.sweep_inline() + clean_up.sweep_inline()
        if not work:
            return
    raise AssertionError("it does not come to rest")


def survive(shop: Shop, operation: Operation, point: Point, plane: Simulator, runs: int = 1) -> None:  # noqa: F811
    """So many kills at that point, each made good; a breach of an invariant would stay, so they are asked once."""
    for _run in range(runs):
        subject = operation.prepare(shop)
        crash(lambda: operation.act(shop, subject), point)  # noqa: B023 (it is over when the loop goes on)
        with suppress(OrderError), muted():
            operation.act(shop, subject)
        time_passes()
        operation.check(subject, plane)
    assert plane.doubles() == {}
    broken = {invariant.name: len(invariant.breaches()) for invariant in INVARIANTS}
    assert not any(broken.values()), broken


def survive_all(name: str, plane: Simulator, runs: int) -> list[Point]:  # noqa: F811
    shop, operation = Shop(), OPERATIONS[name]
    subject = operation.prepare(shop)
    points = points_of(lambda: operation.act(shop, subject))
    time_passes()
    for point in points:
        survive(shop, operation, point, plane, runs)
    return points


def test_the_opening_of_a_product_survives_a_kill_anywhere(plane: Simulator) -> None:  # noqa: F811
    points = [str(point) for point in survive_all("open", plane, runs=1)]
    assert points[:2] == ["before commit 1", "after commit 1"], "the claim is committed before any call"
    assert {"before call ensure 1", "after request create 1", "after call ensure 1"} <= set(points)


@pytest.mark.heavy
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_survives_a_kill_anywhere(name: str, plane: Simulator) -> None:  # noqa: F811
    points = survive_all(name, plane, RUNS)
    print(f"\n{name:<10} {len(points):>3} crash points x {RUNS} kills, all came right: {', '.join(map(str, points))}")
    assert points


@pytest.mark.heavy
def test_a_careless_order_of_things_is_found(plane: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Negative control: cancelling that returns the card first and cleans up afterwards leaves a product behind."""
    shop = Shop()

    def careless(shop: Shop, order: Order) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(clean_up, "remove_resource", lambda order: False)
            patch.setattr(clean_up, "tombstone", lambda now: {})
            actions.cancel_order(order=order, actor=shop.staff)
        clean_up.remove_resource(order)

    operation = Operation(lambda shop: shop.stuck_with_leftover(), careless, given_back_once)
    subject = operation.prepare(shop)
    found = 0
    for point in points_of(lambda: operation.act(shop, subject)):
        try:
            survive(shop, operation, point, plane)
        except AssertionError:
            found += 1
    print(f"\ncareless cancelling: wrong after {found} of its crash points")
    assert found > 0
