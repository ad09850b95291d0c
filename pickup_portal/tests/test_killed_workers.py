"""kill -9 of a worker in the middle: whatever it was doing is finished by the next one, and nothing happens twice."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from accounts.tests.factories import UserFactory
from cards import actions
from cards.choices import BatchStatus
from cards.models import Card, Image
from cards.tests.factories import SPECS, LineFactory, make_batch
from orders import redemption
from orders.choices import AttemptOutcome, OrderState
from orders.models import Order, ProvisioningAttempt, Service
from orders.provisioning.simulator import Simulator

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = {"ORDER_LEASE_SECONDS": "3", "GENERATION_STALLED_SECONDS": "1", "SWEEP_SECONDS": "1"}


@pytest.fixture
def start_worker(start_process: Callable[..., subprocess.Popen[bytes]]) -> Callable[[], subprocess.Popen[bytes]]:
    """Beat runs on; each call starts a real worker."""
    celery = ["-m", "celery", "--quiet", "--app", "pickup_portal"]
    start_process(*celery, "beat", "--scheduler", "celery.beat:Scheduler", **QUICK)
    options = ["--without-gossip", "--without-mingle", "--concurrency", "2", "--loglevel", "ERROR"]

    def start() -> subprocess.Popen[bytes]:
        return start_process(*celery, "worker", *options, **QUICK)

    return start


def wait_until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)  # other processes do the work: the database is the only event we share
    raise AssertionError("it did not come about in time")


def test_killed_in_the_middle_of_a_generation(start_worker: Callable[[], subprocess.Popen[bytes]]) -> None:
    quantity = 120_000 if connection.vendor == "postgresql" else 20_000
    first = start_worker()
    batch = actions.create_batch(
        product_type="virtual_host",
        name="云虚拟主机-香港",
        line=LineFactory.create(),
        spec=SPECS["virtual_host"],
        term_months=12,
        quantity=quantity,
        validity=actions.Validity.months(12),
    )

    def generated() -> int:
        batch.refresh_from_db()
        return batch.generated

    wait_until(generated)
    first.kill()
    first.wait()
    before = dict(Card.objects.filter(batch=batch).order_by("serial").values_list("serial", "lookup"))
    assert 0 < len(before) < quantity, "the worker was not killed in the middle"
    killed_at = time.monotonic()
    start_worker()
    wait_until(lambda: generated() > len(before))
    resumed = time.monotonic() - killed_at
    wait_until(lambda: generated() == quantity)
    after = dict(Card.objects.filter(batch=batch).values_list("serial", "lookup"))
    print(f"\nkilled at {len(before)} of {quantity} on {connection.vendor}; went on after {resumed:.1f} s")
    assert batch.status == BatchStatus.READY
    assert set(after) == set(range(1, quantity + 1))
    assert len(set(after.values())) == quantity
    assert all(after[serial] == index for serial, index in before.items())


def test_killed_in_the_middle_of_a_provisioning(start_worker: Callable[[], subprocess.Popen[bytes]]) -> None:
    batch, codes = make_batch(quantity=3)
    member = UserFactory.create()
    image = Image.objects.get(line=batch.line)
    orders = [redemption.redeem(code=code, member=member, image_id=image.pk) for code in codes]
    plane = Simulator()
    plane.arm("late", key=orders[0].key, seconds=15)  # made at once, answered 15 s later: killed in between
    first = start_worker()
    wait_until(lambda: plane.resources(key=orders[0].key))
    first.kill()
    first.wait()
    cut_off = ProvisioningAttempt.objects.get(order=orders[0])
    assert cut_off.outcome == AttemptOutcome.STARTED, "the worker was not killed in the middle"
    killed_at = time.monotonic()
    start_worker()
    wait_until(lambda: Order.objects.filter(state=OrderState.ACTIVE).count() == len(orders))
    print(f"\n{len(orders)} orders active {time.monotonic() - killed_at:.1f} s after the kill on {connection.vendor}")
    assert [len(plane.resources(key=order.key, deleted=True)) for order in orders] == [1, 1, 1]
    assert plane.doubles() == {}
    assert Service.objects.count() == len(orders)
