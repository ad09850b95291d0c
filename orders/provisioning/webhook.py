"""Any product, opened by a company's own system: signed requests in the manner of Standard Webhooks.

Three requests, all at one address (docs/adapters.md has the protocol in full):
    POST <url>          {"type": "service.open" | "service.suspend" | "service.resume" | "service.terminate", ...}
    GET  <url>/<key>    what exists under an order's key, or 404
    GET  <url>          {"keys": [...]}, everything that exists
Success is always read back with GET; the answer to a POST only says that it was taken, and a signed callback from the
receiver only that it is worth asking now.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.core.exceptions import ImproperlyConfigured

from cards.catalog import PRODUCTS

from .base import (
    BadCallback,
    Found,
    InProgress,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    Ready,
    ResourceState,
    TransientError,
    one_line,
    scrub,
)
from .http import Answer, Http, checked_url

STATES = ("building", "active", "suspended", "failed", "deleted")
SHORTEST_WAIT, LONGEST_WAIT = 0.2, 60.0
FACTS = {"hostname", "address", "image"}.union(*(product.spec_form().fields for product in PRODUCTS.values()))

TOLERANCE = 300  # seconds between the sender's clock and ours


def verify(secret: bytes, headers: Mapping[str, str], body: bytes) -> None:
    """Standard Webhooks: one of the signatures is ours over id, time and body, and the time is now. Raises BadCallback,
    also for what is malformed: nobody learns more than that it was refused."""
    given = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        raise BadCallback("headers")
    if abs(time.time() - int(stamp)) > TOLERANCE:
        raise BadCallback("time")
    wanted = sign(secret, message_id, int(stamp), body).encode()
    offered = given.get("webhook-signature", "").encode(errors="replace").split(b" ")
    if not any(hmac.compare_digest(wanted, one) for one in offered[:10]):
        raise BadCallback("signature")


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    signed = b".".join((message_id.encode(errors="replace"), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


class WebhookProvisioner(Provisioner):
    """OPTIONS: `url`, `secret` (base64, with or without the prefix whsec_), `timeout` (seconds, default 15),
    `allow_private` (receiver on a private address or without TLS), `ca_file`."""

    option_names = frozenset({"url", "secret", "timeout", "allow_private", "ca_file"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.url = checked_url(key, options)
        try:
            self.secret = base64.b64decode(str(options.get("secret", "")).removeprefix("whsec_"), validate=True)
        except binascii.Error:
            self.secret = b""
        if len(self.secret) < 24:
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: secret must be base64 of at least 24 bytes.")
        self.http = Http(
            timeout=float(options.get("timeout", 15)),
            allow_private=bool(options.get("allow_private", False)),
            ca_file=options.get("ca_file"),
        )

    def ensure(self, request: ProvisionRequest) -> Outcome:
        state = self._look_up(request.key)
        if state is None:
            data = asdict(request) | {"key": str(request.key)}
            answer = self._post("service.open", data, message_id=str(request.key))
            self._judge(answer)
            state = self._look_up(request.key)
            if state is None:
                raise OutcomeUnknown("The receiver took the order but does not know it.")
        match state["state"]:
            case "building":
                wait = min(max(_number(state.get("check_after"), 5.0), SHORTEST_WAIT), LONGEST_WAIT)
                return InProgress(state["id"], timedelta(seconds=wait))
            case "failed":
                reason = scrub(str(state.get("error", "")), request.password, limit=200)
                raise PermanentError(f"The receiver could not open it: {reason or 'no reason given'}")
            case "deleted":
                raise PermanentError("This resource was terminated at the receiver.")
        access = {"password": request.password} | _texts(state.get("access"))
        return Ready(state["id"], access, _facts(state.get("facts"), request.password, access["password"]))

    def suspend(self, external_id: str) -> None:
        self._judge(self._post("service.suspend", {"id": external_id}))

    def resume(self, external_id: str) -> None:
        self._judge(self._post("service.resume", {"id": external_id}))

    def terminate(self, external_id: str) -> None:
        answer = self._post("service.terminate", {"id": external_id})
        if answer.status not in (404, 410):
            self._judge(answer)

    def set_domain(self, external_id: str, domain: str) -> None:
        self._judge(self._post("service.set_domain", {"id": external_id, "domain": domain}))

    def find(self, key: UUID) -> Found | None:
        state = self._look_up(key)
        if state is None or state["state"] == "deleted":
            return None
        passwords = [str(text) for name, text in _texts(state.get("access")).items() if "password" in name]
        return Found(state["id"], cast(ResourceState, state["state"]), _facts(state.get("facts"), *passwords))

    def list_keys(self) -> Iterable[UUID]:
        answer = self._get("")
        self._judge(answer)
        try:
            return [UUID(key) for key in answer.json()["keys"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise OutcomeUnknown("The receiver's list of keys cannot be read.") from None

    def check(self) -> list[str]:
        return [f"receiver {urlsplit(self.url).hostname}", f"{len(list(self.list_keys()))} resources"]

    def callback_key(self, headers: Mapping[str, str], body: bytes) -> UUID:
        verify(self.secret, headers, body)
        try:
            return UUID(json.loads(body)["data"]["key"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise BadCallback("body") from None

    # --- HTTP ---------------------------------------------------------------------------------------------------
    def _look_up(self, key: UUID) -> dict[str, Any] | None:
        answer = self._get(f"/{key}")
        if answer.status == 404:
            return None
        self._judge(answer)
        state = answer.json()
        if not isinstance(state, dict) or not state.get("id") or state.get("state") not in STATES:
            raise OutcomeUnknown("The receiver's state of this order cannot be read.")
        if state.get("key") != str(key):
            raise PermanentError("The receiver answered with a resource of another order.")
        return state | {"id": str(state["id"])}

    def _get(self, path: str) -> Answer:
        return self.http.send("GET", self.url + path, headers=self._headers(f"get_{uuid4()}", b""))

    def _post(self, kind: str, data: dict[str, Any], *, message_id: str | None = None) -> Answer:
        """Opening carries the order's key as its id, so that a receiver can drop repeats. The other verbs act by
        state and are new messages each time: a second suspension, after a resumption, is not a repeat."""
        body = json.dumps({"type": kind, "timestamp": int(time.time()), "data": data}, ensure_ascii=False).encode()
        headers = self._headers(message_id or f"msg_{uuid4()}", body)
        return self.http.send("POST", self.url, body=body, headers=headers | {"Content-Type": "application/json"})

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        now = int(time.time())
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(self.secret, message_id, now, body),
            "Idempotency-Key": message_id,
        }

    @staticmethod
    def _judge(answer: Answer) -> None:
        """Return if the receiver took it, else raise what its status means."""
        status = answer.status
        if status in (200, 201, 202, 204):
            return
        if status in (409, 425, 429):
            raise TransientError(f"The receiver is busy (status {status}).")
        if status == 507:
            raise NoCapacity("The receiver has no capacity left.")
        if status == 402:
            raise NoCapacity("The receiver says that our quota there is used up.")
        if status >= 500 or status == 408:
            raise OutcomeUnknown(f"The receiver failed (status {status}).")
        if status in (401, 403):
            raise PermanentError(f"The receiver refused our signature (status {status}).")
        raise PermanentError(f"The receiver refused the request (status {status}).")


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _facts(facts: object, *secrets: str) -> dict[str, Any]:
    """What was delivered, under names that the service page knows; anything else that the receiver says stays out."""
    if not isinstance(facts, dict):
        return {}
    kept: dict[str, Any] = {}
    for name in FACTS & facts.keys():
        value = facts[name]
        if isinstance(value, str) and value and not any(secret in value for secret in secrets):
            kept[name] = one_line(value[:200])
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            kept[name] = value
    return kept


def _texts(access: object) -> dict[str, str]:
    if not isinstance(access, dict):
        return {}
    return {str(name)[:40]: str(value)[:500] for name, value in access.items() if value is not None}
