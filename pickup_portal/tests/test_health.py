from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards.models import AuditCheck, Batch
from cards.tests.factories import make_batch
from orders.choices import NoticeKind
from orders.models import Notice, Order
from orders.redemption import redeem
from pickup_portal.health import HEARTBEAT_LATE_SECONDS
from pickup_portal.tasks import HEARTBEAT_KEY, heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_cache(settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "health"}}
    cache.clear()


def test_healthz_needs_no_database(client: Client, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("name", ["healthz", "readyz", "metrics"])
def test_probes_ask_by_the_machines_address(client: Client, settings: Settings, name: str) -> None:
    settings.ALLOWED_HOSTS = ["cards.example.com"]
    heartbeat()
    response = client.get(f"/{name}", REMOTE_ADDR="127.0.0.1", headers={"host": "10.0.0.7:8000"})
    assert response.status_code == 200
    assert response["X-Content-Type-Options"] == "nosniff"
    assert client.get("/", headers={"host": "10.0.0.7:8000"}).status_code == 400


def test_ready_when_database_broker_and_worker_are(client: Client) -> None:
    heartbeat()
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"database": "ok", "broker": "ok", "worker": "ok"})


def test_not_ready_before_a_worker_was_seen(client: Client) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()["worker"]) == (503, "not seen")


def test_not_ready_when_the_worker_fell_silent(client: Client) -> None:
    cache.set(HEARTBEAT_KEY, time.time() - HEARTBEAT_LATE_SECONDS - 5)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["worker"]) == (503, "silent for 50 s")


def test_a_sign_of_life_from_the_future_is_none(client: Client) -> None:
    """A clock was set back, or the machines' clocks differ: a worker that died would have been well for an hour."""
    cache.set(HEARTBEAT_KEY, time.time() + 3600)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["worker"].endswith("s ahead of this machine's")


def test_a_broker_that_is_away_is_named_quickly_and_without_its_password(client: Client, settings: Settings) -> None:
    heartbeat()
    settings.CELERY_BROKER_URL = "redis://:hush@127.0.0.1:1/0"
    began = time.monotonic()
    response = client.get("/readyz")
    assert time.monotonic() - began < 3
    assert (response.status_code, response.json()["database"]) == (503, "ok")
    assert response.json()["broker"] not in ("ok", "")
    assert b"hush" not in response.content


def test_metrics_are_for_this_machine(client: Client) -> None:
    response = client.get("/metrics", REMOTE_ADDR="127.0.0.1")
    assert response.status_code == 200
    assert 'portal_orders{state="pending"} 0.0' in response.content.decode()
    assert "portal_batches_generating 0.0" in response.content.decode()
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.1").status_code == 403
    assert client.get("/metrics", REMOTE_ADDR="").status_code == 403


def test_a_proxy_on_this_machine_does_not_make_every_caller_local(client: Client) -> None:
    response = client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers={"x-forwarded-for": "192.0.2.1"})
    assert response.status_code == 403


def test_a_token_opens_metrics_from_anywhere_and_its_absence_closes_them_here(
    client: Client, settings: Settings
) -> None:
    settings.METRICS_TOKEN = "right"
    for given, status in (("Bearer right", 200), ("Bearer wrong", 403), ("Bearer", 403), ("", 403)):
        response = client.get("/metrics", REMOTE_ADDR="192.0.2.1", headers={"authorization": given})
        assert response.status_code == status, given
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 403


def test_what_is_worth_an_alarm_shows_in_metrics(client: Client) -> None:
    def shown() -> dict[str, float]:
        lines = client.get("/metrics", REMOTE_ADDR="127.0.0.1").content.decode().splitlines()
        return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}

    alarms = ("order_overdue_seconds", "batch_stalled_seconds", "mail_overdue_seconds", "audit_breaks")
    batch, (code,) = make_batch(quantity=1, product_type="virtual_host")
    with muted():
        order = redeem(code=code, member=UserFactory.create())
    Notice.objects.all().delete()
    assert [shown()[f"portal_{name}"] for name in alarms[1:]] == [0, 0, 0]

    hour_ago = timezone.now() - timedelta(hours=1)
    Order.objects.filter(pk=order.pk).update(next_attempt_at=hour_ago)
    Batch.objects.filter(pk=batch.pk).update(status="generating", progress_at=hour_ago)
    Notice.objects.create(order=order, kind=NoticeKind.OPENED, occasion="1", created_at=hour_ago)
    AuditCheck.objects.create(pk=1, breaks=[{"position": 1, "event": 1, "what": "changed"}])
    values = shown()
    assert [round(values[f"portal_{name}"] / 3600) for name in alarms[:3]] == [1, 1, 1]
    assert values["portal_audit_breaks"] == 1
    assert values['portal_orders{state="pending"}'] == 1
