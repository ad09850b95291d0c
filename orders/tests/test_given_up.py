"""Orders that staff give up or settle: nothing stays behind at the provider, and the money moves once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import Settings

from accounts.actions import balance_of, record_entry
from accounts.choices import LedgerKind
from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.models import AuditEvent
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders import clean_up, fulfilment, lifecycle, reconcile, redemption
from orders.actions import (
    cancel_order,
    resolve_order,
    retry_order,
    settle_service,
    suspend_service,
    terminate_service,
)
from orders.choices import OrderState, ServiceState
from orders.exceptions import ExistsThere, ResourceRemains, ResourceTaken, WrongState
from orders.models import Order, Service
from orders.provisioning.base import Found, OutcomeUnknown, ProvisionRequest, Ready
from orders.provisioning.simulator import Simulator, SimulatorProvisioner

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


class Forgetful:
    """A control plane without a memory for what it deleted: an `ensure` that comes late makes the thing again."""

    def __init__(self) -> None:
        self.there: dict[UUID, str] = {}
        self.away: Exception | None = None

    def ensure(self, request: ProvisionRequest) -> Ready:
        return Ready(self.there.setdefault(request.key, f"box-{request.key}"), {})

    def find(self, key: UUID) -> Found | None:
        if self.away:
            raise self.away
        return Found(self.there[key], "active") if key in self.there else None

    def terminate(self, external_id: str) -> None:
        self.there = {key: box for key, box in self.there.items() if box != external_id}

    def list_keys(self) -> Iterable[UUID]:
        return list(self.there)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    far_side = Forgetful()
    for module in ("clean_up", "actions", "fulfilment"):
        monkeypatch.setattr(f"orders.{module}.get_provisioner", lambda key: far_side)
    return far_side


@pytest.fixture
def staff() -> User:
    return UserFactory.create(username="olga", staff=True)


@pytest.fixture
def order(plane: Simulator) -> Order:  # noqa: F811
    """An order that failed; its member paid for Windows."""
    line = LineFactory.create(windows_monthly_price=Decimal(10))
    image = ImageFactory.create(line=line, operating_system__windows=True)
    _batch, codes = make_batch(line=line, windows_policy="member_pays")
    member = UserFactory.create(username="alice")
    record_entry(member=member, kind=LedgerKind.TOP_UP, amount=Decimal(500))
    return stuck(place_order(code=codes[0], member=member, image_id=image.pk))


def stuck(order: Order) -> Order:
    Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
    order.refresh_from_db()
    return order


def look_now(order: Order) -> bool:
    Order.objects.filter(pk=order.pk, clean_up_at__isnull=False).update(clean_up_at=timezone.now())
    return bool(clean_up.sweep_inline())


# --- tombstones -------------------------------------------------------------------------------------------------------
def wake_after_cancelling(order: Order, staff: User, far_side: Forgetful) -> None:
    zombie = fulfilment.request_for(order)
    cancel_order(order=order, actor=staff)
    far_side.ensure(zombie)


def test_what_a_late_worker_makes_is_removed(order: Order, staff: User, forgetful: Forgetful) -> None:
    wake_after_cancelling(order, staff, forgetful)
    assert list(forgetful.there) == [order.key]
    assert look_now(order) is True
    assert forgetful.there == {}
    assert order.events.latest("id").kind == "cleaned_up"
    assert look_now(order) is False


def test_without_tombstones_it_would_stay(order: Order, staff: User, forgetful: Forgetful, settings: Settings) -> None:
    """Negative control."""
    settings.ORDER_CLEAN_UP = timedelta(0)
    wake_after_cancelling(order, staff, forgetful)
    assert look_now(order) is False
    assert list(forgetful.there) == [order.key]
    assert reconcile.orphans_of(forgetful) == [order.key], "listed all the same"  # type: ignore[arg-type]


def test_the_looks_grow_rarer_and_end(order: Order, staff: User, forgetful: Forgetful, settings: Settings) -> None:
    settings.ORDER_CLEAN_UP = timedelta(hours=2)
    cancel_order(order=order, actor=staff)
    now, pauses = timezone.now(), []
    for minutes in (1, 10, 100, 120):
        Order.objects.update(clean_up_at=now, clean_up_until=now + settings.ORDER_CLEAN_UP - timedelta(minutes=minutes))
        clean_up.sweep_inline()
        order.refresh_from_db()
        pauses.append(order.clean_up_at and round((order.clean_up_at - now).total_seconds() / 60))
    assert pauses == [1, 10, 20, None]


TROUBLES = pytest.mark.parametrize("trouble", [OutcomeUnknown("no answer"), KeyError("hunter2")], ids=["away", "bug"])


@TROUBLES
def test_nothing_is_cancelled_where_the_provider_cannot_be_asked(
    order: Order, staff: User, forgetful: Forgetful, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    forgetful.away = trouble
    with pytest.raises(ResourceRemains):
        cancel_order(order=order, actor=staff)
    order.refresh_from_db()
    assert (order.state, order.card_id is None) == (OrderState.NEEDS_ATTENTION, False)
    resolve_order(order=order, actor=staff, note="", external_id="vm-77")
    assert Service.objects.get().by_hand is True
    assert "hunter2" not in caplog.text


@TROUBLES
def test_a_provider_that_is_away_is_asked_again(
    order: Order, staff: User, forgetful: Forgetful, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    wake_after_cancelling(order, staff, forgetful)
    forgetful.away = trouble
    assert look_now(order) is False
    assert "hunter2" not in caplog.text
    order.refresh_from_db()
    assert order.clean_up_at
    assert order.clean_up_at > timezone.now()
    forgetful.away = None
    assert look_now(order) is True


def test_only_what_was_given_up_is_cleaned(order: Order, forgetful: Forgetful) -> None:
    forgetful.ensure(fulfilment.request_for(order))
    assert clean_up.run(order.pk) is False
    assert list(forgetful.there) == [order.key]
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.update(clean_up_at=timezone.now(), clean_up_until=timezone.now())


def test_a_worker_that_was_stopped_past_its_lease_does_not_call(
    plane: Simulator,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, codes = make_batch()
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    real = fulfilment.get_provisioner

    def stopped_for_long(key: str) -> Any:
        Order.objects.update(lease_until=timezone.now())
        assert fulfilment.claim(order.pk), "another worker takes over"
        return real(key)

    monkeypatch.setattr(fulfilment, "get_provisioner", stopped_for_long)
    monkeypatch.setattr(fulfilment.Claim, "ended", lambda claimed: True)
    assert fulfilment.run(order.pk)
    assert plane.calls() == []


def test_a_lease_ends_by_the_clock(order: Order) -> None:
    claimed = fulfilment.Claim(order, 1)
    order.lease_until = timezone.now() + timedelta(minutes=1)
    assert claimed.ended() is False
    order.lease_until = timezone.now()
    assert claimed.ended() is True


# --- settled by staff -------------------------------------------------------------------------------------------------
ACCESS = {"address": "203.0.113.9", "username": "root", "password": "typed-by-staff"}


def test_opened_by_hand(order: Order, staff: User, plane: Simulator) -> None:  # noqa: F811
    resolve_order(order=order, actor=staff, note="panel was down", external_id="vm-77", access=ACCESS)
    service = Service.objects.get()
    assert (order.state, order.external_id, service.by_hand) == (OrderState.ACTIVE, "vm-77", True)
    assert fulfilment.access_of(service) == ACCESS
    assert ACCESS["password"].encode() not in bytes(service.access)
    assert balance_of(order.member) == Decimal(380), "he got what he paid for"
    assert order.events.latest("id").kind == "opened_by_hand"
    assert AuditEvent.objects.latest("pk").detail["change"] == "opened by hand"
    with pytest.raises(WrongState):
        resolve_order(order=order, actor=staff, note="again", external_id="vm-78")
    assert reconcile.take_checks(10) == [], "its provider knows nothing of it"


def test_a_product_opened_by_hand_is_changed_by_hand(order: Order, staff: User, plane: Simulator) -> None:  # noqa: F811
    resolve_order(order=order, actor=staff, note="", external_id="vm-77", access=ACCESS)
    service = Service.objects.get()
    suspend_service(service=service, actor=staff, reason="")
    lifecycle.run(service.pk)
    assert plane.calls(verb="suspend") == []
    settle_service(service=service, actor=staff, reason="switched it off")
    assert service.state == ServiceState.SUSPENDED


def test_the_domain_of_a_site_ended_by_hand_is_free_again(order: Order, staff: User, plane: Simulator) -> None:  # noqa: F811
    _batch, codes = make_batch(product_type="virtual_host")
    site = stuck(place_order(code=codes[0], member=order.member))
    resolve_order(order=site, actor=staff, note="", external_id="web-1")
    assert site.domain
    service = Service.objects.get()
    terminate_service(service=service, actor=staff, reason="")
    lifecycle.run(service.pk)
    settle_service(service=service, actor=staff, reason="deleted it in the panel")
    site.refresh_from_db()
    assert (service.state, site.domain) == (ServiceState.TERMINATED, "")


def test_what_the_provider_knows_is_not_by_hand(order: Order, staff: User, plane: Simulator) -> None:  # noqa: F811
    made = SimulatorProvisioner("simulator", {"delay": 0}).ensure(fulfilment.request_for(order))
    with pytest.raises(ExistsThere):
        resolve_order(order=order, actor=staff, note="", external_id="something-else", access=ACCESS)
    order.refresh_from_db()
    assert (order.state, Service.objects.count()) == (OrderState.NEEDS_ATTENTION, 0)
    resolve_order(order=order, actor=staff, note="", external_id=made.external_id, access=ACCESS)
    assert Service.objects.get().by_hand is False


def test_what_was_made_since_the_provider_was_asked_is_not_by_hand(
    order: Order,
    staff: User,
    forgetful: Forgetful,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While olga waits for the provider's answer, a colleague restarts the order, and it is made and stuck again."""
    find = forgetful.find

    def slow(key: UUID) -> Found | None:
        found = find(key)
        retry_order(order=order, actor=staff)
        claimed = fulfilment.claim(order.pk)
        assert claimed
        forgetful.ensure(fulfilment.request_for(order))
        fulfilment.record_failed(claimed, "answered with nonsense")
        return found

    monkeypatch.setattr(forgetful, "find", slow)
    with pytest.raises(WrongState):
        resolve_order(order=order, actor=staff, note="", external_id="vm-77", access=ACCESS)
    order.refresh_from_db()
    assert (order.state, Service.objects.count()) == (OrderState.FAILED, 0)
    monkeypatch.setattr(forgetful, "find", find)
    with pytest.raises(ExistsThere):
        resolve_order(order=order, actor=staff, note="", external_id="vm-77", access=ACCESS)


def test_an_id_that_is_anothers_is_refused(order: Order, staff: User, plane: Simulator) -> None:  # noqa: F811
    _batch, codes = make_batch(product_type="virtual_host")
    other = stuck(place_order(code=codes[0], member=order.member))
    resolve_order(order=other, actor=staff, note="", external_id="vm-77")
    with pytest.raises(ResourceTaken):
        resolve_order(order=order, actor=staff, note="", external_id="vm-77")
    order.refresh_from_db()
    assert order.state == OrderState.NEEDS_ATTENTION


@pytest.mark.parametrize(("refund", "balance"), [(False, Decimal(380)), (True, Decimal(500))])
def test_closed_for_good(order: Order, staff: User, refund: bool, balance: Decimal) -> None:
    resolve_order(order=order, actor=staff, note="got another card", refund=refund)
    assert (order.state, order.card_id is None) == (OrderState.CLOSED, False)
    assert order.card
    assert order.card.status == "used", "the card stays used"
    assert balance_of(order.member) == balance
    with pytest.raises(WrongState):
        resolve_order(order=order, actor=staff, note="", refund=True)
    with pytest.raises(WrongState):
        cancel_order(order=order, actor=staff)
    assert balance_of(order.member) == balance


def test_a_closed_order_leaves_nothing_behind(order: Order, staff: User, forgetful: Forgetful) -> None:
    forgetful.ensure(fulfilment.request_for(order))
    forgetful.away = OutcomeUnknown("no answer")
    resolve_order(order=order, actor=staff, note="the provider is gone")
    forgetful.away = None
    assert look_now(order) is True
    assert forgetful.there == {}


def test_the_card_of_a_cancelled_order_works_again_and_is_refunded_once(
    order: Order, staff: User, forgetful: Forgetful
) -> None:
    cancel_order(order=order, actor=staff)
    assert balance_of(order.member) == Decimal(500)
    with pytest.raises(WrongState):
        cancel_order(order=order, actor=staff)
    assert balance_of(order.member) == Decimal(500)
    assert redemption.Order.objects.get().returned_card == order.returned_card
