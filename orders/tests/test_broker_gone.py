"""No broker, no worker, for as long as it lasts: members redeem, and the plain command `sweep` opens everything."""

from __future__ import annotations

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.commands import run_json
from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
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
    batch, codes = make_batch(quantity=20)
    image = batch.line.images.get().pk
    orders = [redemption.redeem(code=code, member=alice, image_id=image) for code in codes]
    assert no_broker.count("orders.tasks.provision") == 20
    assert {order.state for order in orders} == {"pending"}
    plane.arm("lost_reply", key=orders[3].key)
    Order.objects.update(next_attempt_at=timezone.now())
    swept = run_json("sweep", "--drain", "--timeout", 60)
    assert (swept["orders"], swept["in_flight"]) == (21, 0)
    assert Order.objects.filter(state="active").count() == len(plane.resources()) == 20
    assert plane.doubles() == {}
    for service in Service.objects.all():
        actions.terminate_service(service=service, actor=None, reason="test")
    assert run_json("sweep")["services"] == 20
    assert plane.resources() == []
