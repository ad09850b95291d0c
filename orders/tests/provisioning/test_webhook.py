"""The signed webhook against a receiver in a process of its own."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders.provisioning import simulated_plane
from orders.provisioning.base import (
    NoCapacity,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    TransientError,
)
from orders.provisioning.webhook import FACTS, WebhookProvisioner, _facts, sign
from pickup_portal.lifeline import tied_to_this_process

from .conformance import NAME, ConformanceCases, FarSide, request_for, until_ready
from .fault_proxy import FaultProxy
from .web_node import free_port

BACKEND = "orders.provisioning.webhook.WebhookProvisioner"
SECRET = base64.b64encode(b"a secret of the tests, 32 bytes!").decode()


class ReceiverFarSide(FarSide):
    faults: ClassVar[frozenset[str]] = FarSide.faults | {"error", "garbage", "quota"}
    reads_back = frozenset({*FACTS})

    def __init__(self, directory: Path) -> None:
        self.path = directory / "receiver.sqlite3"
        self.plane = simulated_plane.SimulatedPlane(self.path)
        self.log = directory / "receiver.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orders.tests.provisioning.webhook_receiver", str(self.path), SECRET],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=tied_to_this_process(),
            )
        assert self.process.stdout is not None
        self.proxy = FaultProxy(f"http://127.0.0.1:{int(self.process.stdout.readline())}")
        self.url = f"{self.proxy.url}/hook"
        self.config = {
            "BACKEND": BACKEND,
            "OPTIONS": {"url": self.url, "secret": SECRET, "timeout": 30, "allow_private": True},
        }

    def close(self) -> None:
        self.proxy.close()
        self.process.kill()
        self.process.communicate()

    def impatient(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"timeout": 2}}

    def count(self, key: UUID) -> int:
        return len(self.plane.resources(key=key))

    def total(self) -> int:
        return len(self.plane.resources())

    def delivered(self, key: UUID) -> dict[str, Any]:
        return self.plane.resources(key=key)[0].spec

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        if fault in ("error", "garbage"):
            self.proxy.arm(fault, "POST", "^/hook$")
        else:
            self.plane.arm(fault, seconds=seconds)

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        lines = [json.loads(line) for line in self.path.with_suffix(".told").read_text().splitlines()]
        (told,) = [line for line in lines if line.pop("key") == str(request.key)]
        same = told.pop("digest") == sha256(request.password.encode()).hexdigest()
        if told["domain"]:
            told["domain"] = self.plane.resources(key=request.key)[0].hostname  # it may have another one by now
        return told | {"password": request.password if same else "another"}

    def nobody_there(self) -> dict[str, Any]:
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"url": f"http://127.0.0.1:{free_port()}/hook"}}

    def wrong_credentials(self) -> dict[str, Any]:
        other = base64.b64encode(b"x" * 32).decode()
        return self.config | {"OPTIONS": self.config["OPTIONS"] | {"secret": other}}

    def stored(self) -> bytes:
        return self.log.read_bytes() + b"".join(p.read_bytes() for p in self.path.parent.glob(f"{self.path.name}*"))


@pytest.fixture
def far_side(tmp_path: Path) -> Iterator[ReceiverFarSide]:
    far_side = ReceiverFarSide(tmp_path)
    yield far_side
    far_side.close()


class TestConformance(ConformanceCases):
    adapter = "webhook"


def webhook(url: str, **options: Any) -> WebhookProvisioner:
    return WebhookProvisioner(NAME, {"url": url, "secret": SECRET, "timeout": 30, "allow_private": True} | options)


def test_signature_is_that_of_standard_webhooks() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    # What the package standardwebhooks 1.0 signs for the same message.
    assert signature == "v1,pZN3CVESPCUuihODVQNgWONmlcH9xCz9b1ykcK53XqY="


def test_wrong_secret_is_refused_and_opens_nothing(far_side: ReceiverFarSide) -> None:
    stranger = webhook(far_side.url, secret="whsec_" + base64.b64encode(b"x" * 32).decode())
    for call in (lambda: stranger.ensure(request_for("cloud_server")), stranger.check):
        with pytest.raises(PermanentError, match="signature"):
            call()
    assert far_side.total() == 0


def test_suspending_again_after_resuming_is_not_taken_for_a_repeat(far_side: ReceiverFarSide) -> None:
    provisioner, request = webhook(far_side.url), request_for("cloud_server")
    external_id = until_ready(provisioner, request).external_id
    for verb, state in (("suspend", "suspended"), ("resume", "active"), ("suspend", "suspended")):
        getattr(provisioner, verb)(external_id)
        assert far_side.plane.resources(key=request.key)[0].state == state


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>log in</html>", OutcomeUnknown),
        (200, b"[]", OutcomeUnknown),
        (200, b'{"id": "1", "state": "great"}', OutcomeUnknown),
        (200, b'{"id": "1", "state": "active", "key": "somebody else\'s"}', PermanentError),
        (200, b"x" * 1_000_001, OutcomeUnknown),
        (302, b"", PermanentError),
        (400, b"", PermanentError),
        (500, b"", OutcomeUnknown),
        (502, b"", OutcomeUnknown),
        (409, b"", TransientError),
    ],
)
def test_odd_answers(status: int, body: bytes, error: type[Exception]) -> None:
    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        provisioner: Provisioner = webhook(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(error):
            provisioner.ensure(request_for("cloud_server"))
        server.shutdown()


WILD = "no\x00room\n2026-11-29 CRITICAL all is lost\ud800\u202etxt"


@pytest.mark.parametrize("error", [TransientError, PermanentError, OutcomeUnknown, NoCapacity])
def test_whatever_a_receiver_says_is_one_line_that_can_be_kept(error: type[Exception]) -> None:
    """NUL and half characters are refused by the database, after the attempt; a line end forges a line of the log."""
    assert str(error(WILD)).endswith("no room 2026-11-29 CRITICAL all is lost txt")
    assert str(error(WILD)).isprintable()


def test_only_what_can_be_kept_is_a_fact() -> None:
    facts = {
        "hostname": WILD,
        "memory_gb": float("nan"),
        "cpu_cores": float("inf"),
        "bandwidth_mbps": 5,
        "image": ["x"],
    }
    assert _facts(facts) == {"hostname": "no room 2026-11-29 CRITICAL all is lost txt", "bandwidth_mbps": 5}


def test_private_addresses_and_plain_http_need_permission() -> None:
    with pytest.raises(ImproperlyConfigured, match="https"):
        webhook("http://hooks.example/", allow_private=False)
    with pytest.raises(PermanentError, match="private"):
        webhook("https://127.0.0.1/", allow_private=False).check()
    with pytest.raises(PermanentError, match="private"):
        webhook("https://localhost/", allow_private=False).check()


@pytest.mark.parametrize("secret", ["", "short", "c2hvcnQ=", "whsec_????"])
def test_poor_secrets_are_refused_at_start(secret: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="secret"):
        webhook("https://hooks.example/", secret=secret)


def test_environment_proxies_are_ignored(far_side: ReceiverFarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert webhook(far_side.url).check()
