from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from cards import actions
from cards.actions import Validity
from cards.models import Batch
from cards.tests.factories import SPECS, LineFactory, make_batch
from orders.models import Order
from orders.provisioning.simulator import Simulator

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


def pending_order() -> Order:
    batch, codes = make_batch()
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    Order.objects.filter(pk=order.pk).update(next_attempt_at=timezone.now())
    return order


def test_due_orders_are_opened_without_a_worker(plane: Simulator) -> None:  # noqa: F811
    order = pending_order()
    assert run_json("sweep") == {"batches": 0, "orders": 1, "services": 0, "mails": 1, "in_flight": 0, "sealed": 2}
    order.refresh_from_db()
    assert (order.state, order.service.external_id) == ("active", plane.resources()[0].external_id)
    assert run_json("sweep") == {"batches": 0, "orders": 0, "services": 0, "mails": 0, "in_flight": 0, "sealed": 0}
    assert len(plane.resources()) == 1


def test_an_order_that_is_not_due_waits(plane: Simulator) -> None:  # noqa: F811
    order = pending_order()
    Order.objects.filter(pk=order.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    assert run_json("sweep") == {"batches": 0, "orders": 0, "services": 0, "mails": 0, "in_flight": 1, "sealed": 2}
    assert plane.resources() == []


def test_half_made_batches_become_whole(plane: Simulator) -> None:  # noqa: F811
    batch = actions.create_batch(
        product_type="cloud_server",
        name="云服务器-香港",
        line=LineFactory.create(),
        spec=SPECS["cloud_server"],
        term_months=12,
        quantity=7,
        validity=Validity.months(12),
    )
    assert run_json("sweep")["batches"] == 1
    assert Batch.objects.get(pk=batch.pk).status == "ready"
    assert batch.cards.count() == 7


def test_drain_goes_on_until_nothing_is_in_flight(plane: Simulator) -> None:  # noqa: F811
    order = pending_order()
    Order.objects.filter(pk=order.pk).update(next_attempt_at=timezone.now() + timedelta(seconds=0.4))
    done = {"batches": 0, "orders": 1, "services": 0, "mails": 1, "in_flight": 0, "sealed": 2}
    assert run_json("sweep", "--drain", "--timeout", 120) == done


def test_drain_fails_when_the_time_is_up(plane: Simulator) -> None:  # noqa: F811
    pending_order()
    plane.arm("transient")
    with pytest.raises(CommandError, match="1 orders and 0 batches are unfinished"):
        run("sweep", "--drain", "--timeout", 0)
