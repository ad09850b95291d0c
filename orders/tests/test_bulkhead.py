"""Places at a provisioner: one that hangs takes its share of a machine's processes; nothing waits for nobody."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.factories import UserFactory
from cards.tests.factories import LineFactory, make_batch
from orders import bulkhead, dispatch, fulfilment, tasks
from orders.checks import check_lease, check_places
from orders.choices import OrderState
from orders.models import Order
from orders.provisioning.simulator import Simulator

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)


@pytest.fixture(autouse=True)
def two_places(settings: Settings, tmp_path: Path) -> None:
    settings.PLACES_DIR, settings.PROVISIONER_PLACES = tmp_path / "places", 2


def test_places_are_counted_per_provisioner_and_given_back() -> None:
    place = bulkhead.place
    with place("slow") as first, place("slow") as second, place("slow") as third, place("other") as other:
        assert (first, second, third, other) == (True, True, False, True)
    with pytest.raises(KeyError), bulkhead.place("slow"):
        raise KeyError
    with bulkhead.place("slow") as first, bulkhead.place("slow") as second:
        assert (first, second) == (True, True)


def test_a_killed_process_gives_its_place_back(settings: Settings) -> None:
    holder = (
        "import django, sys; django.setup(); from pathlib import Path; from django.conf import settings\n"
        "settings.PLACES_DIR, settings.PROVISIONER_PLACES = Path(sys.argv[1]), 1\n"
        "from orders import bulkhead\n"
        "with bulkhead.place('slow') as ours: print(ours, flush=True); sys.stdin.read()"
    )
    settings.PROVISIONER_PLACES = 1
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(settings.PLACES_DIR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with bulkhead.place("slow") as ours:
            assert ours is False
        process.kill()
        process.wait()
    with bulkhead.place("slow") as ours:
        assert ours is True


@pytest.fixture
def orders(db: None, plane: Simulator) -> list[Order]:  # noqa: F811
    """Six never tried, at one provisioner."""
    _batch, codes = make_batch(product_type="virtual_host", quantity=6)
    member = UserFactory.create()
    return [place_order(code=code, member=member) for code in codes]


def states() -> Counter[str]:
    return Counter(Order.objects.values_list("state", flat=True))


def test_a_turn_goes_on_with_what_waits(orders: list[Order]) -> None:
    """None is due yet, and five messages are lost: one is enough."""
    tasks.provision(orders[3].pk)
    assert states() == {OrderState.ACTIVE: 6}


def test_a_turn_ends_after_its_time(orders: list[Order], settings: Settings) -> None:
    settings.DRAIN_TIME = timezone.timedelta(0)
    assert dispatch.work(orders[3].pk) == 1
    assert states() == {OrderState.ACTIVE: 1, OrderState.PENDING: 5}


def test_without_a_place_an_order_is_left_to_those_who_have_one(orders: list[Order]) -> None:
    with bulkhead.place("simulator"), bulkhead.place("simulator"):
        assert dispatch.work(orders[0].pk) == 0
        assert states() == {OrderState.PENDING: 6}
    assert dispatch.work(orders[1].pk) == 6
    assert dispatch.work(0) == 0


def test_a_turn_respects_the_pause_of_an_order_that_was_tried(orders: list[Order], plane: Simulator) -> None:  # noqa: F811
    plane.arm("transient", key=orders[0].key)
    fulfilment.run(orders[0].pk)
    assert dispatch.work(orders[1].pk) == 5
    orders[0].refresh_from_db()
    assert orders[0].state == OrderState.PROVISIONING


def test_a_sweep_calls_a_few_of_each_and_the_ones_that_hang_crowd_nobody_out(
    orders: list[Order], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SWEEP_LIMIT = 2
    Order.objects.update(next_attempt_at=timezone.now() - timezone.timedelta(hours=1), provider="hangs")
    _batch, codes = make_batch(product_type="virtual_host", line=LineFactory.create(provider="other"), quantity=1)
    other = place_order(code=codes[0], member=orders[0].member)
    Order.objects.filter(pk=other.pk).update(next_attempt_at=timezone.now())
    called: list[Any] = []
    monkeypatch.setattr(tasks, "call_now", lambda task, pk: called.append(pk) or True)
    assert tasks.sweep_orders() == 3
    assert other.pk in called
    assert tasks.sweep_orders() == 2, "those called before are not called again at once"
    assert len(set(called)) == 5


def test_the_settings_are_checked(settings: Settings) -> None:
    assert check_lease(None) == check_places(None) == []
    limit = settings.CELERY_TASK_TIME_LIMIT
    for seconds, expected in ((0, "orders.E003"), (9, "orders.W002"), (limit + 1, "orders.W003")):
        settings.ORDER_LEASE = timezone.timedelta(seconds=seconds)
        assert [message.id for message in check_lease(None)] == [expected]
    settings.PROVISIONERS = {"a": {}, "b": {}}
    settings.PROVISIONER_PLACES = settings.CELERY_WORKER_CONCURRENCY
    assert [warning.id for warning in check_places(None)] == ["orders.W001"]
