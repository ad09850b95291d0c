"""A lease is renewed while its worker lives, given up when nothing can be recorded, and never waited for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO

import psycopg2
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders import closing, dispatch, fulfilment, lease, lifecycle, tasks
from orders.choices import AttemptOutcome, OrderState, ServiceState
from orders.management.commands.sweep import Command as SweepCommand
from orders.models import Order, OrderEvent, Service
from orders.provisioning.simulator import Simulator, SimulatorProvisioner

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def orders(plane: Simulator, settings: Settings, tmp_path: os.PathLike[str]) -> list[Order]:  # noqa: F811
    settings.PLACES_DIR = settings.DATA_DIR.__class__(tmp_path) / "places"
    _batch, codes = make_batch(product_type="virtual_host", quantity=3)
    member = UserFactory.create()
    return [place_order(code=code, member=member) for code in codes]


def held_until(order: Order) -> timezone.datetime:
    until = Order.objects.values_list("lease_until", flat=True).get(pk=order.pk)
    assert until is not None
    return until


@pytest.fixture
def long_call(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes every call to the provider last until that has been done."""

    def last(until: Callable[[], object]) -> None:
        real = SimulatorProvisioner.ensure

        def ensure(self: SimulatorProvisioner, request: fulfilment.ProvisionRequest) -> fulfilment.Outcome:
            until()
            return real(self, request)

        monkeypatch.setattr(SimulatorProvisioner, "ensure", ensure)

    return last


def test_a_call_may_last_longer_than_the_lease(
    orders: list[Order], settings: Settings, long_call: Callable[[Callable[[], object]], None]
) -> None:
    settings.ORDER_LEASE = timedelta(seconds=3)

    def outlast_the_first_lease() -> None:
        first = held_until(orders[0])
        while timezone.now() <= first or held_until(orders[0]) <= first:
            assert timezone.now() < held_until(orders[0]) + timedelta(minutes=1), "nobody renews it"
            time.sleep(0.02)  # the keeper's thread is what we wait for
        assert fulfilment.claim(orders[0].pk) is None, "nobody else may have it"

    long_call(outlast_the_first_lease)
    assert fulfilment.run(orders[0].pk)
    orders[0].refresh_from_db()
    assert (orders[0].state, orders[0].fence) == (OrderState.ACTIVE, 1)


def test_no_lease_is_renewed_for_longer_than_a_task_may_last(orders: list[Order], settings: Settings) -> None:
    """Negative: a call that hangs for ever, in a process that nobody ends, does not keep the order for ever."""
    settings.ORDER_LEASE, settings.CELERY_TASK_TIME_LIMIT = timedelta(seconds=0.3), 0
    claimed = fulfilment.claim(orders[0].pk)
    assert claimed
    before = held_until(orders[0])
    keeper = threading.Thread(target=lease._keep, args=(claimed.order, threading.Event()))
    keeper.start()
    keeper.join(120)
    assert not keeper.is_alive()
    assert held_until(orders[0]) == before


@pytest.mark.parametrize("taken_by", ["the clock", "another worker"])
def test_what_ended_is_not_renewed(orders: list[Order], taken_by: str) -> None:
    claimed = fulfilment.claim(orders[0].pk)
    assert claimed
    assert lease.renew(claimed.order)
    Order.objects.filter(pk=orders[0].pk).update(lease_until=timezone.now())
    if taken_by == "another worker":
        assert fulfilment.claim(orders[0].pk)
    before = held_until(orders[0])
    assert lease.renew(claimed.order) is False
    assert held_until(orders[0]) == before


def test_a_database_that_does_not_answer_is_asked_again_until_the_lease_ends(
    orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = fulfilment.claim(orders[0].pk)
    assert claimed
    assert claimed.order.lease_until

    def away(*args: object, **kwargs: object) -> int:
        raise OperationalError

    monkeypatch.setattr("django.db.models.query.QuerySet.update", away)
    assert lease.renew(claimed.order)
    monkeypatch.setattr(lease.timezone, "now", lambda end=claimed.order.lease_until: end)
    assert lease.renew(claimed.order) is False


@pytest.mark.parametrize("ours", [True, False])
def test_a_worker_process_ends_with_its_lease(orders: list[Order], settings: Settings, ours: bool) -> None:
    """And only its own: a process that serves others too goes on, and its fence keeps it from writing."""
    settings.ORDER_LEASE = timedelta(seconds=0.2)
    claimed = fulfilment.claim(orders[0].pk)
    assert claimed
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            if ours:
                tasks.end_with_the_lease()
            Order.objects.update(lease_until=timezone.now())
            with lease.kept(claimed.order):
                time.sleep(1 if not ours else 60)  # the call; the signal ends it
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert (os.WTERMSIG(status) == signal.SIGKILL) if ours else (status == 0)


@pytest.mark.parametrize("ours", [True, False])
def test_a_sweep_command_ends_with_its_lease(
    orders: list[Order], settings: Settings, long_call: Callable[[Callable[[], object]], None], ours: bool
) -> None:
    """Run as a program it ends in the middle of the call; called from another program's code it does not."""
    settings.ORDER_LEASE = timedelta(seconds=0.2)
    Order.objects.update(next_attempt_at=timezone.now())

    def lose_it() -> None:
        Order.objects.update(lease_until=timezone.now())
        time.sleep(60 if ours else 0.5)

    long_call(lose_it)
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            if ours:
                SweepCommand().run_from_argv(["manage.py", "sweep", "--limit", "1"])
            else:
                call_command("sweep", limit=1, stdout=StringIO())
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert (os.WTERMSIG(status) == signal.SIGKILL) if ours else (status == 0)
    assert Order.objects.filter(state=OrderState.ACTIVE).exists() is not ours


def test_what_cannot_be_recorded_gives_its_lease_back(
    orders: list[Order],
    plane: Simulator,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The timeline's table fails for a moment: the order goes on after its pause, not after the lease."""
    real = OrderEvent.objects.create

    def fails(**fields: object) -> OrderEvent:
        if fields["kind"] == "started":
            return real(**fields)
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(OrderEvent.objects, "create", fails)
        with pytest.raises(OperationalError):
            fulfilment.run(orders[0].pk)
    orders[0].refresh_from_db()
    assert (orders[0].state, orders[0].lease_until, orders[0].attempts) == (OrderState.PROVISIONING, None, 1)
    assert orders[0].next_attempt_at < timezone.now() + timedelta(seconds=10)
    Order.objects.filter(pk=orders[0].pk).update(next_attempt_at=timezone.now())  # the pause is over
    assert fulfilment.run(orders[0].pk)
    assert (Service.objects.count(), len(plane.resources())) == (1, 1)
    outcomes = orders[0].provisioning_attempts.order_by("id").values_list("outcome", flat=True)
    assert list(outcomes) == [AttemptOutcome.STARTED, AttemptOutcome.READY]


@pytest.fixture
def row_lock() -> Iterator[Callable[[Order | Service], None]]:
    """Somebody stopped in the middle of a transaction that holds the row."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no row locks")
    other = psycopg2.connect(**{**connection.get_connection_params(), "cursor_factory": None})

    def lock(row: Order | Service) -> None:
        table = {Order: "orders_order", Service: "orders_service"}[type(row)]
        other.cursor().execute(f"SELECT 1 FROM {table} WHERE id = %s FOR NO KEY UPDATE", [row.pk])  # noqa: S608

    yield lock
    other.close()


def test_a_claim_waits_for_nobody(orders: list[Order], row_lock: Callable[[Order | Service], None]) -> None:
    row_lock(orders[0])
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")  # waiting would be an error
    assert fulfilment.claim(orders[0].pk) is None
    assert dispatch.work(orders[0].pk) == 2, "the others are opened all the same"
    with pytest.raises(OperationalError):  # the negative control: a plain update does wait
        Order.objects.filter(pk=orders[0].pk).update(attempts=0)
    connection.close()


def test_a_change_of_a_service_waits_for_nobody(
    orders: list[Order], row_lock: Callable[[Order | Service], None]
) -> None:
    assert fulfilment.run(orders[0].pk)
    service = Service.objects.get()
    assert lifecycle.decide(service, ServiceState.SUSPENDED, actor=None, reason="unpaid")
    row_lock(service)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")  # waiting would be an error
    assert lifecycle.run(service.pk) is False
    with pytest.raises(OperationalError):  # the negative control: a plain update does wait
        Service.objects.filter(pk=service.pk).update(attempts=0)
    connection.close()


def test_a_message_delivered_again_costs_no_attempt(orders: list[Order], plane: Simulator) -> None:  # noqa: F811
    """Between two attempts the row's time counts, whoever calls."""
    plane.arm("no_capacity", times=None)
    assert dispatch.work(orders[0].pk) == 3
    assert dispatch.work(orders[0].pk) == 0
    assert fulfilment.claim(orders[0].pk) is None
    assert list(Order.objects.values_list("attempts", flat=True)) == [1, 1, 1]
    Order.objects.filter(pk=orders[0].pk).update(next_attempt_at=timezone.now())
    assert dispatch.work(orders[0].pk) == 1, "the pause is over"


def test_a_worker_that_is_to_end_takes_up_no_further_order(
    orders: list[Order], monkeypatch: pytest.MonkeyPatch, long_call: Callable[[Callable[[], object]], None]
) -> None:
    monkeypatch.setattr(closing, "_begun", bytearray(1))
    long_call(tasks.end_turns)
    assert dispatch.work(orders[0].pk) == 1, "what it is at comes to its end"
    assert dispatch.work(orders[1].pk) == 0
    monkeypatch.setattr(closing, "_begun", bytearray(1))
    assert dispatch.work(orders[1].pk) == 1, "the next worker begins anew"


@pytest.mark.parametrize("by", ["a worker with a place", "the command"])
def test_an_order_that_was_called_keeps_its_place(orders: list[Order], by: str) -> None:
    """Whoever comes first takes it up, though its own message found no place."""
    long_ago = timezone.now() - timedelta(minutes=1)
    Order.objects.filter(pk=orders[0].pk).update(
        state=OrderState.PROVISIONING, fence=1, lease_until=long_ago, next_attempt_at=long_ago
    )
    assert dispatch.take_due(10) == [orders[0].pk]
    assert dispatch.take_due(10) == [], "not called again at once"
    if by == "the command":
        assert dispatch.sweep_inline() == 1
    else:
        assert dispatch.work(orders[1].pk) == 3
    orders[0].refresh_from_db()
    assert (orders[0].state, orders[0].called_at) == (OrderState.ACTIVE, None)


def test_an_order_whose_worker_died_goes_first(orders: list[Order]) -> None:
    """It was claimed early, before its time had come; the others have become due meanwhile."""
    Order.objects.filter(pk=orders[2].pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    assert fulfilment.claim(orders[2].pk)
    assert dispatch.take_due(10) == [], "it is held"
    Order.objects.exclude(pk=orders[2].pk).update(next_attempt_at=timezone.now())
    Order.objects.filter(pk=orders[2].pk).update(lease_until=timezone.now())
    assert dispatch.take_due(1) == [orders[2].pk]
    claimed = dispatch.claim_waiting("simulator")
    assert claimed
    assert claimed.order == orders[2]
