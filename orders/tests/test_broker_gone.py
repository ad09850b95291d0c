"""No broker, no worker, for as long as it lasts: members redeem, and the plain command `sweep` opens everything."""

from __future__ import annotations

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.commands import run_json
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards.tests.factories import LineFactory, make_batch
from orders import actions, redemption
from orders.models import Order, Service
from orders.provisioning.simulator import Simulator
from pickup_portal.celery import app

from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)  # so that what is called after the commit is called


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A broker that refuses every connection, as far as publishing goes; what was tried in vain."""
    tried: list[str] = []

    def refuse(name: str, *args: object, **options: object) -> None:
        tried.append(name)
        raise ConnectionRefusedError

    monkeypatch.setattr(app, "send_task", lambda name, *args, **options: refuse(name))
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda task, *args, **options: refuse(task.name))
    return tried


def test_the_sweep_alone_opens_every_order_and_ends_every_service(
    plane: Simulator,  # noqa: F811
    no_broker: list[str],
    settings: Settings,
) -> None:
    settings.ORDER_BACKOFF_BASE = timezone.timedelta(seconds=0.1)
    alice = UserFactory.create(username="alice")
    batch, codes = make_batch(quantity=8)
    image = batch.line.images.get().pk
    orders = [redemption.redeem(code=code, member=alice, image_id=image) for code in codes]
    assert no_broker.count("orders.tasks.provision") == 8
    assert {order.state for order in orders} == {"pending"}
    plane.arm("lost_reply", key=orders[3].key)
    Order.objects.update(next_attempt_at=timezone.now())
    swept = run_json("sweep", "--drain", "--timeout", 120)
    assert (swept["orders"], swept["in_flight"]) == (9, 0)
    assert Order.objects.filter(state="active").count() == len(plane.resources()) == 8
    assert plane.doubles() == {}
    for service in Service.objects.all():
        actions.terminate_service(service=service, actor=None, reason="test")
    assert run_json("sweep")["services"] == 8
    assert plane.resources() == []


def test_one_that_hangs_holds_up_only_its_own(plane: Simulator, settings: Settings) -> None:  # noqa: F811
    """Each provisioner's orders are run in a thread of their own; the slow one's is still at its first when the other
    is through."""
    settings.PROVISIONERS["slow"] = settings.PROVISIONERS["simulator"]
    alice, opened = UserFactory.create(username="alice"), []
    for provider, quantity in (("slow", 1), ("simulator", 5)):
        line = LineFactory.create(provider=provider)
        _batch, codes = make_batch(product_type="virtual_host", line=line, quantity=quantity)
        with muted():
            opened += [redemption.redeem(code=code, member=alice) for code in codes]
    Order.objects.update(next_attempt_at=timezone.now())
    plane.arm("late", key=opened[0].key, seconds=1.5)
    assert run_json("sweep")["orders"] == 6
    times = dict(Order.objects.values_list("pk", "opened_at"))
    slow, others = times.pop(opened[0].pk), sorted(times.values())
    assert slow > others[-1]
