"""A company's receiver, as a process of its own: `webhook_receiver.py LEDGER SECRET [SECONDS]`. Prints its port.

It verifies signatures with the package standardwebhooks, and keeps what it opened in a simulated control plane. Opening
takes 0.2 seconds, or as many as it is told; it asks to be looked at again after as long. For an address of the portal's
on its standard input it calls back there, signed, for everything that is open, and prints what it sent and heard.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

from orders.provisioning.simulated_plane import Resource, SimulatedPlane

VERBS = {"service.suspend": "suspended", "service.resume": "active", "service.terminate": "deleted"}
REFUSALS = {"fail": 422, "transient": 429, "no_capacity": 507, "quota": 402, "wrong_secret": 401, "broken": 500}


class Handler(BaseHTTPRequestHandler):
    plane: SimulatedPlane
    webhook: Webhook
    build_seconds = 0.2

    def do_GET(self) -> None:
        if not self._signed(b""):
            return self._answer(401)
        path = self.path.rstrip("/")
        if path == "/hook":
            return self._answer(200, {"keys": [str(resource.key) for resource in self.plane.resources()]})
        known = self.plane.resources(key=UUID(path.rsplit("/", 1)[1]), deleted=True)
        resource = self.plane.get(known[0].external_id) if known else None
        return self._answer(200, self._state(resource)) if resource else self._answer(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._signed(body):
            return self._answer(401)
        message = json.loads(body)
        if message["type"] == "service.open":
            return self._open(message["data"])
        if message["type"] == "service.set_domain":
            known = self.plane.set_hostname(message["data"]["id"], message["data"]["domain"])
            return self._answer(200 if known else 404)
        done = self.plane.set_state(message["data"]["id"], VERBS[message["type"]])
        return self._answer(200 if done else 404)

    def _open(self, data: dict[str, Any]) -> None:
        assert self.headers["Idempotency-Key"] == self.headers["webhook-id"] == data["key"]
        names = ("key", "image", "hostname", "domain", "ssh_key")
        told = {name: data[name] for name in names} | {"digest": sha256(data["password"].encode()).hexdigest()}
        with self.plane.path.with_suffix(".told").open("a") as file:
            file.write(json.dumps(told) + "\n")
        fault = self.plane.take_fault("ensure", data["key"])
        if fault and fault.name in REFUSALS:
            return self._answer(REFUSALS[fault.name])
        if fault and fault.name == "hang":
            time.sleep(fault.seconds)
            return self._answer(504)
        resource, made = self.plane.create(
            key=UUID(data["key"]),
            owner="receiver",
            product_type=data["product_type"],
            spec=data["spec"],
            hostname=data["domain"] or data["hostname"],
            image=data["image"],
            username="root",
            address_count=1,
            build_seconds=self.build_seconds,
            capacity=None,
            honour_key=True,
        )
        self.plane.log("open", data["key"], "created" if made else "existing")
        if fault and fault.name == "lost_reply":
            self.close_connection = True
            return self.connection.close()
        if fault and fault.name == "late":
            time.sleep(fault.seconds)
        return self._answer(202, {"id": resource.external_id})

    def _signed(self, body: bytes) -> bool:
        try:
            self.webhook.verify(body, dict(self.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return False
        return True

    def _state(self, resource: Resource) -> dict[str, Any]:
        return {
            "id": resource.external_id,
            "key": str(resource.key),
            "state": resource.state,
            "check_after": self.build_seconds,
            "access": {"address": resource.addresses[0], "port": 22, "username": resource.username},
            "facts": resource.spec
            | {"hostname": resource.hostname, "image": resource.image, "address": resource.addresses[0], "odd": "x"},
        }

    def _answer(self, status: int, body: dict[str, Any] | None = None) -> None:
        data = json.dumps(body or {}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def call_back(address: str) -> None:
    for known in Handler.plane.resources():
        resource = Handler.plane.get(known.external_id)
        if resource is None or resource.state != "active":
            continue
        body = json.dumps({"type": "service.opened", "data": {"key": str(resource.key)}})
        at, name = datetime.now(UTC), f"msg_{resource.external_id}"
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Handler.webhook.sign(name, at, body),
            "Content-Type": "application/json",
        }
        answer = httpx.post(address, content=body, headers=headers, timeout=30, trust_env=False)
        print(json.dumps({"status": answer.status_code, "headers": headers, "body": body}), flush=True)


def listen() -> None:
    for line in sys.stdin:
        call_back(line.strip())


if __name__ == "__main__":
    Handler.plane = SimulatedPlane(sys.argv[1])
    Handler.webhook = Webhook(sys.argv[2])
    if len(sys.argv) > 3:
        Handler.build_seconds = float(sys.argv[3])
    threading.Thread(target=listen, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
