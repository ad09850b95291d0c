"""What becomes of an order when the control plane misbehaves: never lost, never opened twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.factories import UserFactory
from cards import vault
from cards.choices import CardStatus
from cards.tests.factories import make_batch
from orders import fulfilment
from orders.actions import cancel_order, retry_order
from orders.backoff import pause
from orders.choices import AttemptOutcome, OrderState
from orders.exceptions import ResourceRemains, WrongState
from orders.models import Order, Service
from orders.provisioning.base import Found, Outcome, Provisioner, ProvisionRequest, Ready
from orders.provisioning.registry import get_provisioner
from orders.provisioning.simulator import Simulator

from .cast import place_order, put_into
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(plane: Simulator) -> Order:  # noqa: F811
    batch, codes = make_batch()
    return place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)


def run_again(order: Order) -> Order:
    """The pause is over: one more attempt."""
    Order.objects.filter(pk=order.pk).update(next_attempt_at=timezone.now())
    assert fulfilment.run(order.pk)
    order.refresh_from_db()
    return order


def outcomes(order: Order) -> list[str]:
    return list(order.provisioning_attempts.order_by("id").values_list("outcome", flat=True))


@pytest.mark.parametrize(
    ("fault", "outcome", "made"),
    [
        ("transient", AttemptOutcome.TRANSIENT, 0),
        ("no_capacity", AttemptOutcome.TRANSIENT, 0),
        ("lost_reply", AttemptOutcome.UNKNOWN, 1),
    ],
)
def test_what_may_pass_is_tried_again_and_opens_once(
    order: Order,
    plane: Simulator,  # noqa: F811
    fault: str,
    outcome: AttemptOutcome,
    made: int,
) -> None:
    plane.arm(fault)
    before = timezone.now()
    run_again(order)
    assert order.state == OrderState.PROVISIONING
    assert order.next_attempt_at > before + timedelta(seconds=1)
    assert len(plane.resources(key=order.key)) == made
    run_again(order)
    assert order.state == OrderState.ACTIVE
    assert outcomes(order) == [outcome, AttemptOutcome.READY]
    (resource,) = plane.resources(key=order.key, deleted=True)
    assert order.service.external_id == order.external_id == resource.external_id


def test_a_server_that_takes_its_time_costs_no_attempts(order: Order, plane: Simulator, settings: Settings) -> None:  # noqa: F811
    settings.PROVISIONERS["simulator"]["OPTIONS"] = {"delay": 3600}
    for _ in range(settings.ORDER_MAX_ATTEMPTS + 2):
        run_again(order)
    assert (order.state, order.attempts) == (OrderState.PROVISIONING, 0)
    assert len(plane.resources(key=order.key)) == 1
    Order.objects.filter(pk=order.pk).update(deadline=timezone.now())
    assert run_again(order).state == OrderState.NEEDS_ATTENTION


def test_patience_ends_with_a_person(order: Order, plane: Simulator, settings: Settings) -> None:  # noqa: F811
    settings.ORDER_MAX_ATTEMPTS = 3
    plane.arm("no_capacity", times=None)
    for _ in range(3):
        run_again(order)
    assert order.state == OrderState.NEEDS_ATTENTION
    assert "capacity" in order.last_error
    assert fulfilment.run(order.pk) is False


def test_refused_then_restarted_by_staff(order: Order, plane: Simulator) -> None:  # noqa: F811
    plane.arm("fail")
    assert run_again(order).state == OrderState.FAILED
    retry_order(order=order, actor=None)
    assert run_again(order).state == OrderState.ACTIVE
    assert len(plane.resources()) == 1


def test_cancelling_removes_what_a_lost_reply_left_behind(order: Order, plane: Simulator) -> None:  # noqa: F811
    plane.arm("lost_reply")
    run_again(order)
    Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
    card = order.card
    assert card is not None
    plane.arm("transient", verb="terminate", key=None)
    with pytest.raises(ResourceRemains):
        cancel_order(order=order, actor=None)
    card.refresh_from_db()
    assert (card.status, len(plane.resources())) == (CardStatus.USED, 1)
    cancel_order(order=order, actor=None)
    card.refresh_from_db()
    assert (order.state, card.status, plane.resources()) == (OrderState.CANCELLED, CardStatus.UNUSED, [])


def test_an_order_of_a_provisioner_that_is_configured_no_more(order: Order, settings: Settings) -> None:
    settings.PROVISIONERS = {}
    assert run_again(order).state == OrderState.PROVISIONING
    assert "No provisioner 'simulator'" in order.last_error
    Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
    with pytest.raises(ResourceRemains):
        cancel_order(order=order, actor=None)


def test_an_order_waits_for_a_worker_that_has_the_access_keys(
    order: Order,
    plane: Simulator,  # noqa: F811
    settings: Settings,
) -> None:
    keys, settings.ACCESS_KEYS = settings.ACCESS_KEYS, ""
    assert run_again(order).state == OrderState.PROVISIONING
    assert "'ACCESS_KEYS' is missing" in order.last_error
    assert (outcomes(order), plane.calls()) == ([AttemptOutcome.TRANSIENT], [])
    settings.ACCESS_KEYS = keys
    assert run_again(order).state == OrderState.ACTIVE


def test_a_worker_that_wakes_after_the_cancellation_opens_nothing(order: Order, plane: Simulator) -> None:  # noqa: F811
    plane.arm("lost_reply")
    run_again(order)
    zombie = fulfilment.request_for(order)
    Order.objects.filter(pk=order.pk).update(state=OrderState.NEEDS_ATTENTION)
    cancel_order(order=order, actor=None)
    with pytest.raises(Exception, match="terminated"):
        get_provisioner("simulator").ensure(zombie)
    assert plane.resources() == []


def test_an_answer_that_comes_after_the_lease_writes_nothing(order: Order, plane: Simulator) -> None:  # noqa: F811
    late = fulfilment.claim(order.pk)
    assert late is not None
    Order.objects.filter(pk=order.pk).update(lease_until=timezone.now())
    run_again(order)
    assert order.state == OrderState.ACTIVE
    assert fulfilment.record_ready(late, Ready("sim-somebody-else", {"address": "203.0.113.99"})) is False
    assert Service.objects.get().external_id == plane.resources()[0].external_id


def test_the_password_is_sealed_and_nowhere_else(
    order: Order,
    plane: Simulator,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    password = vault.initial_password(order.key)
    with caplog.at_level("DEBUG"):
        for fault in ("transient", "lost_reply", "no_capacity"):
            plane.arm(fault)
            run_again(order)
        run_again(order)
    service = Service.objects.get()
    assert fulfilment.access_of(service)["password"] == password
    assert password not in caplog.text
    assert password.encode() not in bytes(service.access)
    kept = [order.last_error, *order.provisioning_attempts.values_list("error", flat=True)]
    kept += order.events.values_list("note", flat=True)
    assert not any(password in text for text in kept)


class Answers(Provisioner):
    """An adapter that does what the test says; `asked` counts the calls."""

    def __init__(self, answer: Callable[[], Outcome]) -> None:
        self.answer, self.asked = answer, 0

    def ensure(self, request: ProvisionRequest) -> Outcome:
        self.asked += 1
        return self.answer()

    def find(self, key: UUID) -> Found | None:
        self.answer()
        return None

    def suspend(self, external_id: str) -> None: ...

    def resume(self, external_id: str) -> None: ...

    def terminate(self, external_id: str) -> None: ...

    def list_keys(self) -> Iterable[UUID]:
        return []

    def check(self) -> None: ...


@pytest.mark.parametrize(
    "answer",
    [
        Ready("", {"username": "root"}),  # no reference: an active order must have one
        Ready("somebody else's", {"username": "root"}),  # the resource of another service
    ],
)
def test_an_answer_that_cannot_be_recorded_comes_to_a_person(
    order: Order, answer: Ready, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    _batch, (code, *_others) = make_batch(product_type="virtual_host")
    other = put_into(place_order(code=code, member=order.member), OrderState.ACTIVE)
    Service.objects.filter(order=other).update(external_id="somebody else's")
    settings.ORDER_MAX_ATTEMPTS = 2
    monkeypatch.setattr(fulfilment, "get_provisioner", lambda key: Answers(lambda: answer))
    run_again(order)
    assert (order.state, order.lease_until) == (OrderState.PROVISIONING, None)
    run_again(order)
    assert (order.state, order.last_error) == (OrderState.NEEDS_ATTENTION, "IntegrityError")
    assert outcomes(order) == [AttemptOutcome.UNKNOWN, AttemptOutcome.UNKNOWN]


def test_an_order_that_kills_its_workers_comes_to_a_person(
    order: Order, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ORDER_MAX_ATTEMPTS = 2
    adapter = Answers(lambda: Ready("srv-1", {}))
    monkeypatch.setattr(fulfilment, "get_provisioner", lambda key: adapter)
    for _killed in range(2):
        assert fulfilment.claim(order.pk)
        Order.objects.filter(pk=order.pk).update(lease_until=timezone.now())
    run_again(order)
    assert (order.state, adapter.asked) == (OrderState.NEEDS_ATTENTION, 0)
    retry_order(order=order, actor=None)
    assert run_again(order).state == OrderState.ACTIVE


def test_what_an_adapters_bug_says_is_in_no_log(
    order: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2"

    def bug() -> Outcome:
        raise KeyError(secret)

    monkeypatch.setattr(fulfilment, "get_provisioner", lambda key: Answers(bug))
    run_again(order)
    assert (order.last_error, order.provisioning_attempts.get().error) == ("KeyError", "KeyError")
    assert "KeyError" in caplog.text
    assert "in bug" in caplog.text
    assert secret not in caplog.text


def test_a_cancellation_gives_way_to_an_attempt_made_while_it_cleaned_up(
    order: Order,
    plane: Simulator,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the clean-up and the return of the card the order was restarted, and left something behind again."""
    Order.objects.filter(pk=order.pk).update(state=OrderState.FAILED)

    def restarted_and_failed() -> Outcome:
        retry_order(order=order, actor=None)
        claimed = fulfilment.claim(order.pk)
        assert claimed
        fulfilment.record_failed(claimed, "gone wrong again")
        return Ready("", {})

    monkeypatch.setattr("orders.clean_up.get_provisioner", lambda key: Answers(restarted_and_failed))
    card = order.card
    assert card is not None
    with pytest.raises(WrongState):
        cancel_order(order=order, actor=None)
    order.refresh_from_db()
    card.refresh_from_db()
    assert (order.state, order.card, card.status) == (OrderState.FAILED, card, CardStatus.USED)


def test_the_pause_grows_to_its_cap_however_many_attempts_are_allowed(settings: Settings) -> None:
    pauses = [pause(attempts) for attempts in (0, 1, 2, 3, 60, 30_000)]
    assert pauses[:4] == [settings.ORDER_BACKOFF_BASE * factor for factor in (1, 1, 2, 4)]
    assert pauses[4:] == [settings.ORDER_BACKOFF_CAP] * 2
