"""list_orders, retry_order."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import User
from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders.choices import OrderEventKind, OrderState
from orders.models import Order
from orders.provisioning.simulator import Simulator

from .cast import place_order, put_into
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> User:
    return UserFactory.create(staff=True)


def three_orders() -> list[Order]:
    """alice's failed one, alice's pending one and bob's active one."""
    batch, codes = make_batch()
    alice, bob = UserFactory.create(username="alice"), UserFactory.create(username="bob")
    image = batch.line.images.get().pk
    failed, pending, active = (
        place_order(code=code, member=member, image_id=image)
        for code, member in zip(codes, [alice, alice, bob], strict=True)
    )
    return [put_into(failed, OrderState.FAILED), pending, put_into(active, OrderState.ACTIVE)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [2, 1, 0]),
        (["--limit", 1], [2]),
        (["--member", "alice"], [1, 0]),
        (["--state", "active"], [2]),
        (["--state", "stuck"], [0]),
        (["--state", "in_flight", "--member", "bob"], []),
        (["--overdue"], []),
    ],
)
def test_orders_are_listed_newest_first_and_filtered(arguments: list[object], expected: list[int]) -> None:
    orders = three_orders()
    listed = [facts["number"] for facts in run_json("list_orders", *arguments)]
    assert listed == [orders[index].number for index in expected]


@pytest.mark.parametrize("command", ["list_orders", "list_services", "sweep"])
def test_a_limit_below_zero_is_refused(command: str) -> None:
    with pytest.raises(CommandError, match="'-1' is not a whole number from 0"):
        run(command, "--limit", "-1")


def test_overdue_lists_what_is_in_flight_past_its_deadline() -> None:
    orders = three_orders()
    Order.objects.update(deadline=timezone.now() - timedelta(minutes=1))
    assert [facts["number"] for facts in run_json("list_orders", "--overdue")] == [orders[1].number]
    assert orders[1].number in run("list_orders", "--overdue")


def test_a_failed_order_is_restarted(staff: User, plane: Simulator) -> None:  # noqa: F811
    failed, _pending, _active = three_orders()
    facts = run_json("retry_order", failed.number, "--actor", staff.username, "--note", "capacity added", "--wait")
    assert facts["state"] == "active"
    event = failed.events.get(kind=OrderEventKind.RETRIED)
    assert (event.actor, event.note) == (staff, "capacity added")


def test_a_note_that_its_row_cannot_hold_is_refused(staff: User) -> None:
    with pytest.raises(CommandError, match="it has 301 characters; 300 at most"):
        run("retry_order", three_orders()[0].number, "--actor", staff.username, "--note", "x" * 301)


def test_an_active_order_is_not_restarted(staff: User, plane: Simulator) -> None:  # noqa: F811
    _failed, _pending, active = three_orders()
    with pytest.raises(CommandError, match="state does not allow"):
        run("retry_order", active.number, "--actor", staff.username, "--wait")
    active.refresh_from_db()
    assert active.state == OrderState.ACTIVE
    assert plane.resources() == []


def test_an_unknown_order_fails(staff: User) -> None:
    with pytest.raises(CommandError, match="no order NONE-SUCH"):
        run("retry_order", "NONE-SUCH", "--actor", staff.username)
