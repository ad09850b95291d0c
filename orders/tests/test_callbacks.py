"""A control plane calls back, signed: the order is looked at now. What the callback claims is never believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders import callbacks, fulfilment
from orders.choices import AttemptOutcome, OrderState
from orders.models import Order, ProvisioningAttempt, Service
from orders.provisioning.base import Ready
from orders.tests.cast import place_order

SECRET = base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
LATER = timedelta(hours=1)


@pytest.fixture
def order(db: None, settings: Any, tmp_path: Path) -> Order:
    settings.SIMULATOR_LEDGER = str(tmp_path / "ledger.sqlite3")
    batch, codes = make_batch(quantity=1)
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    settings.PROVISIONERS = {
        order.provider: {
            "BACKEND": "orders.provisioning.webhook.WebhookProvisioner",
            "OPTIONS": {"url": "https://hooks.example/open", "secret": SECRET},
        },
        "deaf": {"BACKEND": "orders.provisioning.simulator.SimulatorProvisioner"},
    }
    return attempted(order, AttemptOutcome.IN_PROGRESS)


def attempted(order: Order, outcome: AttemptOutcome) -> Order:
    """The order after one more attempt that ended so, an hour before the next."""
    later = timezone.now() + LATER
    fence, attempts = order.fence + 1, order.attempts + 1
    Order.objects.filter(pk=order.pk).update(
        state=OrderState.PROVISIONING, next_attempt_at=later, fence=fence, attempts=attempts
    )
    ProvisioningAttempt.objects.create(order=order, fence=fence, finished_at=timezone.now(), outcome=outcome)
    order.refresh_from_db()
    return order


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    woken: list[int] = []
    monkeypatch.setattr(callbacks, "call_after_commit", lambda task, pk: woken.append(pk))
    return woken


def signed(order: Order, *, body: bytes | None = None, at: datetime | None = None, secret: str = SECRET) -> Any:
    at = at or datetime.now(UTC)
    claim = {
        "type": "service.ready",
        "data": {"key": str(order.key), "state": "active", "access": {"address": "6.6.6.6"}},
    }
    body = json.dumps(claim).encode() if body is None else body
    return {
        "data": body,
        "content_type": "application/json",
        "headers": {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode(errors="replace")),
        },
    }


def due(order: Order) -> bool:
    return Order.objects.get(pk=order.pk).next_attempt_at <= timezone.now()


def test_a_signed_callback_makes_the_order_due_and_nothing_else(
    client: Client, order: Order, woken: list[int], django_assert_max_num_queries: Callable[..., Any]
) -> None:
    with django_assert_max_num_queries(8):
        assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert due(order)
    assert woken == [order.pk]
    order.refresh_from_db()
    assert (order.state, order.external_id) == (OrderState.PROVISIONING, ""), "the claim was not believed"
    assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204, "again is no harm"


@pytest.mark.parametrize("outcome", [outcome for outcome in AttemptOutcome if outcome != AttemptOutcome.IN_PROGRESS])
def test_a_pause_after_a_failed_attempt_is_kept(
    client: Client, order: Order, woken: list[int], outcome: AttemptOutcome
) -> None:
    """Caught and sent again, a callback would have the order attempted until its attempts are used up."""
    attempted(order, outcome)
    for _again in range(3):
        assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert (due(order), woken) == (False, [])


def test_a_new_order_is_looked_at(client: Client, order: Order, woken: list[int]) -> None:
    attempted(order, AttemptOutcome.TRANSIENT)
    Order.objects.filter(pk=order.pk).update(state=OrderState.PENDING)
    assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert (due(order), woken) == (True, [order.pk])


def test_who_holds_the_order_is_not_disturbed(client: Client, order: Order, woken: list[int]) -> None:
    Order.objects.filter(pk=order.pk).update(lease_until=timezone.now() + LATER)
    assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert not due(order)
    assert woken == []


def test_an_unknown_order_is_answered_like_a_known_one(client: Client, order: Order, woken: list[int]) -> None:
    stranger = Order(key=uuid4())
    assert client.post(f"/callbacks/{order.provider}/", **signed(stranger)).status_code == 204
    assert woken == []


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": base64.b64encode(b"another secret of 32 bytes long!").decode()},
        {"at": datetime.now(UTC) - timedelta(hours=2)},
        {"at": datetime.now(UTC) + timedelta(hours=2)},
        {"body": b""},
        {"body": b"[]"},
        {"body": b"null"},
        {"body": b"not json"},
        {"body": b"[" * 60_000},
        {"body": b'{"data": {"key": "no-uuid"}}'},
        {"body": b'{"data": {"key": 7}}'},
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    client: Client, order: Order, woken: list[int], changes: dict[str, Any]
) -> None:
    assert client.post(f"/callbacks/{order.provider}/", **signed(order, **changes)).status_code == 401
    assert (due(order), woken) == (False, [])


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("webhook-signature", ""),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,????"),
        ("webhook-signature", "v2,AAAA v1,"),
        ("webhook-signature", "v1,\xff\xfe"),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "NaN"),
        ("webhook-timestamp", "1e9"),
        ("webhook-timestamp", "9" * 40),
        ("webhook-timestamp", "\u0663"),
        ("webhook-id", ""),
        ("webhook-id", "msg_2"),
    ],
)
def test_malformed_headers_are_refused_never_an_error(
    client: Client, order: Order, woken: list[int], header: str, value: str
) -> None:
    request = signed(order)
    request["headers"][header] = value
    assert client.post(f"/callbacks/{order.provider}/", **request).status_code == 401
    assert (due(order), woken) == (False, [])


def test_the_body_is_bound_by_the_signature(client: Client, order: Order, woken: list[int]) -> None:
    request = signed(order)
    request["data"] += b" "
    assert client.post(f"/callbacks/{order.provider}/", **request).status_code == 401
    assert client.post(f"/callbacks/{order.provider}/", **signed(order, body=b"x" * 70_000)).status_code == 401
    assert woken == []


def test_only_who_signs_callbacks_may_send_them(client: Client, order: Order, woken: list[int]) -> None:
    for provider in ("deaf", "unheard-of"):
        assert client.post(f"/callbacks/{provider}/", **signed(order)).status_code == 401
    assert client.get(f"/callbacks/{order.provider}/").status_code == 405
    assert woken == []


def test_another_providers_order_is_not_touched(client: Client, order: Order, woken: list[int], settings: Any) -> None:
    settings.PROVISIONERS["other"] = settings.PROVISIONERS[order.provider]
    assert client.post("/callbacks/other/", **signed(order)).status_code == 204
    assert (due(order), woken) == (False, [])


@pytest.fixture
def service(order: Order) -> Service:
    """What the order opened, looked at an hour ago and again in an hour."""
    now = timezone.now()
    Order.objects.filter(pk=order.pk).update(state=OrderState.ACTIVE, opened_at=now, external_id="vm-1", login=None)
    service = fulfilment.open_service(order, Ready("vm-1", {}), now)
    Service.objects.update(seen_at=now - LATER, check_at=now + LATER)
    return service


def test_a_service_is_looked_at_once_however_often_it_is_said(
    client: Client, order: Order, service: Service, woken: list[int]
) -> None:
    """Caught and sent again, a callback would have the provider asked without end, at a time that the thief chooses."""
    for _again in range(3):
        assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert woken == [service.pk]
    seen_at = timezone.now()
    Service.objects.update(seen_at=seen_at, check_at=seen_at + LATER)  # the worker asked
    for _again in range(3):
        assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert woken == [service.pk]
    service.refresh_from_db()
    assert service.check_at == seen_at + callbacks.ASK_EVERY, "news is heard all the same, a little later"


def test_what_was_opened_by_hand_is_not_asked_about(
    client: Client, order: Order, service: Service, woken: list[int]
) -> None:
    """The adapter knows nothing of it, and would have it look gone."""
    Service.objects.update(by_hand=True)
    assert client.post(f"/callbacks/{order.provider}/", **signed(order)).status_code == 204
    assert woken == []
