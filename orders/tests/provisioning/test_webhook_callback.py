"""A company's receiver calls back, all in processes of their own: the portal's web server, its worker, the receiver.

The receiver says "look again in a minute", and there is no sweep: only its callback can open the order sooner.
"""

from __future__ import annotations

import base64
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders.choices import AttemptOutcome, OrderState
from orders.models import Order
from orders.provisioning.simulated_plane import SimulatedPlane
from orders.tasks import provision
from orders.tests.cast import place_order
from orders.tests.race import start_web
from pickup_portal.celery import app
from pickup_portal.lifeline import tied_to_this_process

SECRET = base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
STRANGERS = base64.b64encode(b"another secret of 32 bytes long!").decode()
A_MINUTE = 60
WORKER = ("-m", "celery", "--quiet", "--app", "pickup_portal", "worker", "--without-gossip", "--without-mingle")


class Receiver:
    def __init__(self, ledger: Path) -> None:
        command = ["-m", "orders.tests.provisioning.webhook_receiver", str(ledger), SECRET, str(A_MINUTE)]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=tied_to_this_process(),
        )
        self.plane = SimulatedPlane(ledger)
        self.url = f"http://127.0.0.1:{self._hear()}/hook"

    def _hear(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 30)[0], "the receiver says nothing"
        return self.process.stdout.readline()[:-1]

    def finish_and_call(self, address: str) -> dict[str, Any]:
        """What it sent to the portal, and the portal's answer."""
        self.plane.finish_builds()
        assert self.process.stdin is not None
        self.process.stdin.write(address + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self._hear()))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path / "receiver.sqlite3")
    yield receiver
    receiver.process.kill()
    receiver.process.communicate()


def post(address: str, sent: dict[str, Any]) -> int:
    return httpx.post(address, content=sent["body"], headers=sent["headers"], timeout=30, trust_env=False).status_code


def signed(order: Order, *, secret: str = SECRET, age: timedelta = timedelta(0)) -> dict[str, Any]:
    at, body = datetime.now(UTC) - age, json.dumps({"type": "service.opened", "data": {"key": str(order.key)}})
    signature = Webhook(secret).sign("msg_1", at, body)
    stamp = str(int(at.timestamp()))
    names = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}
    return {"body": body, "headers": names | {"Content-Type": "application/json"}}


def wait_for(order: Order, what: Callable[[Order], bool], *, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not what(order):
        assert time.monotonic() < deadline, f"the order is {order.state}: {order.last_error}"
        time.sleep(0.05)
        order.refresh_from_db()


def outcomes(order: Order) -> list[str]:
    return list(order.provisioning_attempts.values_list("outcome", flat=True))


def test_the_order_opens_by_the_receivers_callback_and_by_no_other(
    receiver: Receiver, start_process: Callable[..., Any]
) -> None:
    batch, codes = make_batch(quantity=1)
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    options = {"url": receiver.url, "secret": SECRET, "allow_private": True}
    backend = "orders.provisioning.webhook.WebhookProvisioner"
    env = {"PROVISIONERS": json.dumps({order.provider: {"BACKEND": backend, "OPTIONS": options}})}
    app.control.purge()
    start_process(*WORKER, "--pool", "solo", "--loglevel", "ERROR", **env)
    port = start_web(lambda *command: start_process(*command, **env), "pickup_portal.wsgi", workers=1, threads=2)
    address = f"http://localhost:{port}/callbacks/{order.provider}/"

    provision.delay(order.pk)
    wait_for(order, lambda order: order.lease_until is None and order.external_id != "")
    assert outcomes(order) == [AttemptOutcome.IN_PROGRESS]
    a_while = timezone.now() + timedelta(seconds=A_MINUTE / 2)
    assert order.next_attempt_at > a_while

    receiver.plane.finish_builds()  # so that whoever is believed now opens it
    moved = signed(order) | {"body": signed(order)["body"] + " "}
    for forged in (signed(order, secret=STRANGERS), signed(order, age=timedelta(minutes=6)), moved):
        assert post(address, forged) == 401
    order.refresh_from_db()
    assert order.next_attempt_at > a_while, "somebody else was believed"

    sent = receiver.finish_and_call(address)
    assert sent["status"] == 204
    wait_for(order, lambda order: order.state == OrderState.ACTIVE)
    assert order.opened_at is not None
    assert order.opened_at < a_while
    assert outcomes(order) == [AttemptOutcome.IN_PROGRESS, AttemptOutcome.READY]

    assert post(address, sent) == 204, "within its five minutes a copy is as good, and as harmless"
    fresher = sent["headers"] | {"webhook-timestamp": str(int(time.time()) + 60)}
    assert post(address, sent | {"headers": fresher}) == 401, "its time is part of what was signed"
    order.refresh_from_db()
    assert (order.state, len(outcomes(order)), len(receiver.plane.resources())) == (OrderState.ACTIVE, 2, 1)
