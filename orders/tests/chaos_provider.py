"""A provider for the chaos runs, a process of its own with a ledger of its own: `chaos_provider.py PORT LEDGER SECRET`.

The webhook receiver of the conformance tests, made less reliable: some answers are lost after the work was done, each
takes a moment, servers are built for a while. `--deaf` makes it open something new at every request, whatever the key.
"""

from __future__ import annotations

import argparse
import random
import time
from http.server import ThreadingHTTPServer
from typing import Any
from uuid import UUID

from standardwebhooks import Webhook

from orders.provisioning.simulated_plane import SimulatedPlane
from orders.tests.provisioning.webhook_receiver import Handler

LOST = 0.02
BUILD = {"cloud_server": 0.5, "virtual_host": 0.0}


class Unreliable(Handler):
    deaf = False
    hold = 0.08

    def _open(self, data: dict[str, Any]) -> None:
        time.sleep(random.random() * self.hold / 2)  # noqa: S311
        resource, made = self.plane.create(
            key=UUID(data["key"]),
            owner="chaos",
            product_type=data["product_type"],
            spec=data["spec"],
            hostname=data["hostname"],
            image=data["image"],
            username="root",
            address_count=1,
            build_seconds=BUILD.get(data["product_type"], 0.0),
            capacity=None,
            honour_key=not self.deaf,
        )
        self.plane.log("open", data["key"], "created" if made else "existing")
        time.sleep(random.random() * self.hold / 2)  # noqa: S311
        if random.random() < LOST:  # noqa: S311
            self.close_connection = True
            return self.connection.close()
        return self._answer(202, {"id": resource.external_id})

    def log_message(self, format: str, *args: Any) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None: ...  # callers get killed; that is the point


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("ledger")
    parser.add_argument("secret")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--hold", type=float, default=Unreliable.hold, help="seconds an opening takes at most")
    options = parser.parse_args()
    Unreliable.plane, Unreliable.webhook = SimulatedPlane(options.ledger), Webhook(options.secret)
    Unreliable.deaf, Unreliable.hold = options.deaf, options.hold
    Server(("127.0.0.1", options.port), Unreliable).serve_forever()
