"""A worker comes back from its call after staff have decided about the order: it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards.tests.factories import SPECS, make_batch
from orders import fulfilment, notices, redemption
from orders.actions import cancel_order, resolve_order, retry_order
from orders.choices import AttemptOutcome, OrderState
from orders.fulfilment import Claim
from orders.models import Notice, Order, OrderEvent, Service
from orders.provisioning.base import InProgress, Ready
from orders.provisioning.simulator import Simulator

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db

LATE: dict[str, Callable[[Claim], bool]] = {
    "with a product": lambda claimed: fulfilment.record_ready(claimed, Ready("sim-late", {"username": "root"})),
    "still waiting": lambda claimed: fulfilment.record_in_progress(claimed, InProgress("sim-late", timedelta(hours=1))),
    "in doubt": lambda claimed: fulfilment.record_retry(claimed, AttemptOutcome.UNKNOWN, "late"),
    "refused": lambda claimed: fulfilment.record_failed(claimed, "late"),
}


def retry(order: Order, staff: User) -> None:
    retry_order(order=order, actor=staff)


def retry_and_work(order: Order, staff: User) -> None:
    retry_order(order=order, actor=staff)
    assert fulfilment.claim(order.pk)


def cancel(order: Order, staff: User) -> None:
    cancel_order(order=order, actor=staff)


def close(order: Order, staff: User) -> None:
    resolve_order(order=order, actor=staff, note="")


def enter(order: Order, staff: User) -> None:
    resolve_order(order=order, actor=staff, note="", external_id="by-hand", access={"username": "root"})


DECISIONS = (retry, retry_and_work, cancel, close, enter)


@pytest.fixture
def late(plane: Simulator) -> Claim:  # noqa: F811
    """A claim whose lease ended; its successor handed the order to staff."""
    batch, codes = make_batch()
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    claimed = fulfilment.claim(order.pk)
    assert claimed
    Order.objects.update(lease_until=timezone.now(), deadline=timezone.now())
    successor = fulfilment.claim(order.pk)
    assert successor
    assert fulfilment.record_retry(successor, AttemptOutcome.TRANSIENT, "no capacity")
    assert Order.objects.get().state == OrderState.NEEDS_ATTENTION
    return claimed


def books() -> list[Any]:
    rows = [list(model.objects.order_by("pk").values()) for model in (Order, Service, OrderEvent, Notice)]
    return [*rows, list(redemption.Card.objects.order_by("pk").values())]


@pytest.mark.parametrize("how", LATE)
@pytest.mark.parametrize("decide", DECISIONS)
def test_it_writes_nothing(late: Claim, how: str, decide: Callable[[Order, User], None]) -> None:
    with muted():
        decide(Order.objects.get(), UserFactory.create(staff=True))
    before = books()
    assert LATE[how](late) is False
    assert books() == before


@pytest.mark.parametrize("decide", DECISIONS)
def test_without_the_fence_it_would(
    late: Claim, decide: Callable[[Order, User], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    def careless(claimed: Claim, outcome: AttemptOutcome, error: str = "", **changes: Any) -> bool:
        return bool(Order.objects.filter(pk=claimed.order.pk).update(lease_until=None, **changes))

    monkeypatch.setattr(fulfilment, "_close", careless)
    with muted():
        decide(Order.objects.get(), UserFactory.create(staff=True))
    before = books()
    assert LATE["in doubt"](late)
    assert books() != before


def test_each_kind_of_product_has_its_own_patience(plane: Simulator, settings: Settings) -> None:  # noqa: F811
    """A provider that is "in progress" for ever comes to a person when that time is over, who is told by mail."""
    settings.ORDER_DEADLINE = {kind: timedelta(minutes=n) for n, kind in enumerate(SPECS, 1)}
    settings.PROVISIONERS["simulator"]["OPTIONS"] = {"delay": 1e9}
    settings.ORDER_ALERT_EMAILS = ["duty@example.com"]
    member, now = UserFactory.create(), timezone.now()
    for number, kind in enumerate(SPECS, 1):
        batch, codes = make_batch(product_type=kind)
        image_id = None if kind == "virtual_host" else batch.line.images.get().pk
        order = place_order(code=codes[0], member=member, image_id=image_id)
        left = (order.deadline - now).total_seconds() / 60
        assert number <= left < number + 0.5
        if kind == "virtual_host":  # it is opened while the caller waits, so it has no such state
            continue
        assert fulfilment.run(order.pk)
        order.refresh_from_db()
        assert (order.state, order.attempts) == (OrderState.PROVISIONING, 0)
        Order.objects.filter(pk=order.pk).update(deadline=timezone.now(), next_attempt_at=timezone.now())
        assert fulfilment.run(order.pk)
        order.refresh_from_db()
        assert (order.state, order.last_error) == (OrderState.NEEDS_ATTENTION, "deadline passed while in progress")
        mail.outbox.clear()
        notices.send_due()
        assert ["duty@example.com"] in [message.to for message in mail.outbox]
