"""The whole portal as real processes that are killed, members who go on redeeming, and the books afterwards.

Web, two workers, beat, broker and provider are processes of their own; PostgreSQL keeps what it commits. Whatever is
killed starts again at once, as a supervisor would have it. The provider's ledger is its own file, so that the portal
and it can be compared.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2

from orders.provisioning.simulated_plane import SimulatedPlane
from pickup_portal.lifeline import die_with_parent
from pickup_portal.testing.lab import BEAT, CELERY, WORKER, Lab, end, lab
from pickup_portal.testing.servers import _broker_program, _wait_for

from .race import free_port, redeem_request

LEASE, SWEEP = 5, 1
SECRET = "c2VjcmV0" * 6
CLOUD_SHARE = 0.3
PATIENCE = 120.0
QUICK = {
    "ORDER_LEASE_SECONDS": str(LEASE),
    "TASK_TIME_LIMIT_SECONDS": str(LEASE - 1),
    "IDLE_IN_TRANSACTION_SECONDS": "4",
    "SWEEP_SECONDS": str(SWEEP),
    "SWEEP_RECALL_SECONDS": "3",
    "DRAIN_SECONDS": "1",
    "ORDER_BACKOFF_SECONDS": "1",
    "ORDER_BACKOFF_CAP_SECONDS": "4",
    "PROVISIONER_PLACES": "8",
    "CELERY_WORKER_CONCURRENCY": "4",
    "THROTTLE_MEMBER": "10000000",
    "THROTTLE_ADDRESS": "10000000",
    "THROTTLE_GLOBAL": "10000000",
    "LOG_LEVEL": "CRITICAL",
}
SHARES = {"task": 46, "worker": 8, "web": 14, "provider": 10, "beat": 8, "broker": 8, "database": 6}

# Members with a session each, and cards for them: what the script prints is what the redeeming threads work on.
SET_UP = """
import json, sys
from decimal import Decimal
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from accounts.models import User
from accounts.wakeup import muted
from cards import actions, generation
from cards.models import Image, Line, OperatingSystem
from cards.vault import BatchVault

wanted = json.loads(%r)
sessions = []
for number in range(wanted["members"]):
    user = User(username=f"member-{number}")
    user.set_unusable_password()
    user.save()
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    sessions.append(session.session_key)
line = Line.objects.create(name="chaos", provider="chaos", offers_virtual_host=True, offers_cloud_server=True)
system = OperatingSystem.objects.create(name="Debian", version="12", family="linux")
image = Image.objects.create(line=line, operating_system=system, reference="debian-12")
specs = {
    "virtual_host": {"web_space_gb": 1, "databases": 0, "sites": 1, "traffic_gb": 1},
    "cloud_server": {"cpu_cores": 1, "memory_gb": 1, "system_disk_gb": 10, "data_disk_gb": 0, "bandwidth_mbps": 1,
                     "ip_count": 1},
}
codes = []
with muted():
    for product_type, quantity in wanted["cards"].items():
        if not quantity:
            continue
        batch = actions.create_batch(
            product_type=product_type, name="chaos", line=line, spec=specs[product_type], term_months=1,
            quantity=quantity, validity=actions.Validity.months(12), reference_price=Decimal(0),
        )
        generation.run_to_end(batch.pk)
        vault = BatchVault.of(batch)
        codes += [vault.open(card.serial, bytes(card.sealed)) for card in batch.cards.order_by("serial")]
print(json.dumps({"sessions": sessions, "codes": codes, "image": image.pk}))
"""


# A worker that neither looks at its lease before it calls nor carries its fence when it writes.
CARELESS = """
import sys, django
django.setup()
from orders import fulfilment, lease
from orders.models import Order

def close(claimed, outcome, error="", **changes):
    return bool(Order.objects.filter(pk=claimed.order.pk).update(lease_until=None, **changes))

fulfilment._close = close
fulfilment.Claim.ended = lambda claimed: False
lease.renew = lambda row: True
from pickup_portal.celery import app
app.worker_main(sys.argv[1:])
"""
ZOMBIES = 10  # processes of one such worker


@dataclass
class Kill:
    how: str
    at: float
    back: float = 0.0


@dataclass
class Portal:
    """The processes, by name; `kill(how)` ends one of them with -9 and starts it again."""

    lab: Lab
    home: Path
    provider_options: tuple[str, ...] = ()
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    extra: dict[str, dict[str, str]] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)  # by themselves
    hands: threading.RLock = field(default_factory=threading.RLock)  # of whoever starts and stops processes

    def __post_init__(self) -> None:
        self.web_port, self.provider_port = free_port(), free_port()
        self.plane = SimulatedPlane(self.home / "provider.sqlite3")
        self.broker_socket = self.home / "chaos.sock"
        self.env = self.lab.env | QUICK
        self.env["CELERY_BROKER_URL"] = f"redis+socket://{self.broker_socket}?virtual_host=0"
        self.env["PROVISIONERS"] = json.dumps({"chaos": self.provisioner()})
        self.log = (self.home / "chaos.log").open("ab")
        self.over = threading.Event()

    def provisioner(self) -> dict[str, Any]:
        careless = "--deaf" in self.provider_options
        backend = (
            "orders.tests.careless_adapter.CarelessProvisioner"
            if careless
            else "orders.provisioning.webhook.WebhookProvisioner"
        )
        url = f"http://127.0.0.1:{self.provider_port}/hook"
        return {"BACKEND": backend, "OPTIONS": {"url": url, "secret": SECRET, "timeout": 2, "allow_private": True}}

    def command(self, name: str) -> list[str]:
        python = [sys.executable, "-W", "ignore"]
        match name.partition("-")[0]:
            case "broker":
                options = ["--port", "0", "--unixsocket", str(self.broker_socket), "--save", "", "--appendonly", "no"]
                return [*_broker_program(), *options, "--dir", str(self.home)]
            case "provider":
                where = [str(self.provider_port), str(self.plane.path), SECRET]
                return [*python, "-m", "orders.tests.chaos_provider", *where, *self.provider_options]
            case "web":
                return [
                    *python,
                    *["-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf", "--bind"],
                    f"127.0.0.1:{self.web_port}",
                ]
            case "beat":
                return [*python, *BEAT]
            case "zombie" | "careless":
                how = ["-c", CARELESS, *WORKER[len(CELERY) :]] if name == "careless" else WORKER
                return [*python, *how, "-n", f"{name}@chaos", "--concurrency", str(ZOMBIES)]
            case _:
                return [*python, *WORKER, "-n", f"{name}@chaos"]

    def start(self, name: str, **extra_env: str) -> None:
        """With this environment on top, now and whenever it is started again."""
        extra_env = self.extra.setdefault(name, extra_env)
        self.running[name] = subprocess.Popen(
            self.command(name),
            env=self.env | extra_env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def stop(self, name: str) -> None:
        with self.hands:
            end(self.running.pop(name))

    def ask_to_end(self, name: str) -> float:
        """SIGTERM, and how many seconds it took."""
        start = time.monotonic()
        with self.hands:
            process = self.running.pop(name)
        process.terminate()
        process.wait(60)
        return time.monotonic() - start

    def supervise(self) -> None:
        """Start again what ends by itself, as `serve` would."""
        while not self.over.wait(0.3):
            with self.hands:
                for name, process in list(self.running.items()):
                    if process.poll() is not None:
                        self.ended[name] += 1
                        self.start(name)

    def start_all(self, *, beat: bool = True) -> None:
        for name in ("broker", "provider", "web", "worker-1", "worker-2", *(["beat"] if beat else [])):
            self.start(name)
        _wait_for(self.broker_socket, self.running["broker"], self.home / "chaos.log")
        self.wait_for_web()
        threading.Thread(target=self.supervise, daemon=True).start()

    def stop_all(self) -> None:
        self.over.set()
        for name in list(self.running):
            self.stop(name)

    def wait_for_web(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.web_port), timeout=1) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    return
            time.sleep(0.1)
        raise AssertionError("the web did not answer")

    def kill(self, how: str, rng: random.Random) -> None:
        kill = Kill(how, time.time())
        match how:
            case "task":
                self._kill_child(f"worker-{rng.randint(1, 2)}", rng)
            case "web" if rng.random() < 0.75:
                self._kill_child("web", rng)
            case "database":
                assert self.lab.postgres is not None
                self.lab.postgres.stop_immediately()
                self.lab.postgres.start()
            case _:
                name = f"worker-{rng.randint(1, 2)}" if how == "worker" else how
                with self.hands:
                    if name in self.running:
                        self.stop(name)
                        self.broker_socket.unlink(missing_ok=True) if name == "broker" else None
                        self.start(name)
        kill.back = time.time()
        self.kills.append(kill)

    def _kill_child(self, name: str, rng: random.Random) -> None:
        """One process of its pool, which the parent replaces."""
        parent = self.running[name].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if children:
            with suppress(ProcessLookupError):
                os.kill(int(rng.choice(children)), signal.SIGKILL)

    # --- the portal's books -----------------------------------------------------------------------------------
    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows, as soon as the database answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client = psycopg2.connect(self.env["DATABASE_URL"])
                try:
                    with client.cursor() as cursor:
                        cursor.execute(sql, values or None)
                        return cursor.fetchall()
                finally:
                    client.close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def count(self, where: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM orders_order WHERE {where}")[0][0])  # noqa: S608 (our own words)

    def rows(self) -> dict[str, tuple[Any, ...]]:
        """Every order and service as it stands, column by column."""
        orders = self.ask("SELECT o.number, md5(o::text), md5(s::text) FROM orders_order o"
                          " LEFT JOIN orders_service s ON s.order_id = o.id")  # fmt: skip
        return {row[0]: row for row in orders}

    def signal_all(self, name: str, number: int) -> None:
        """To the process and everything it started, as when a machine freezes."""
        os.killpg(self.running[name].pid, number)

    def in_flight(self) -> int:
        return self.count("state IN ('pending', 'provisioning')")

    def wait_until_final(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.in_flight():
                return True
            time.sleep(0.2)
        return False

    def manage(self, *arguments: str) -> None:
        """A command in the portal's environment, which must succeed."""
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, env=self.env, stdout=self.log, stderr=self.log, check=True)

    def set_up(self, cards: int, members: int = 20, cloud_share: float = CLOUD_SHARE) -> dict[str, Any]:
        cloud = int(cards * cloud_share)
        wanted = {"members": members, "cards": {"virtual_host": cards - cloud, "cloud_server": cloud}}
        return dict(json.loads(self.lab.manage("shell", "-v0", "-c", SET_UP % json.dumps(wanted))))


@contextmanager
def chaos_portal(*provider_options: str) -> Iterator[Portal]:
    with ExitStack() as stack:
        made = stack.enter_context(lab())
        home = Path(made.env["PORTAL_DATA_DIR"])
        portal = Portal(made, home, provider_options)
        stack.callback(portal.log.close)
        stack.callback(portal.stop_all)
        if keep := os.environ.get("CHAOS_LOG"):
            stack.callback(shutil.copy, home / "chaos.log", keep)
        yield portal


class Members(threading.Thread):
    """Redeem every code over HTTP, in `threads` at once, again and again until the answer is the order's page.

    `allowed` grows with the kills, so that redemptions are spread over them.
    """

    def __init__(self, portal: Portal, made: dict[str, Any], threads: int = 6) -> None:
        super().__init__(daemon=True)
        self.portal, self.image, self.sessions = portal, made["image"], made["sessions"]
        self.codes = list(made["codes"])
        random.shuffle(self.codes)
        self.taken, self.allowed, self.again = 0, 0, 0
        self.orders: dict[str, str] = {}
        self.given_up: list[str] = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._redeem_some, daemon=True) for _ in range(threads)]

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()

    def _next(self) -> tuple[int, str] | None:
        while True:
            with self.lock:
                if self.taken >= len(self.codes):
                    return None
                if self.taken < self.allowed:
                    self.taken += 1
                    return self.taken - 1, self.codes[self.taken - 1]
            time.sleep(0.02)

    def _redeem_some(self) -> None:
        while (mine := self._next()) is not None:
            number, code = mine
            request = redeem_request(self.sessions[number % len(self.sessions)], code, self.image)
            deadline = time.monotonic() + PATIENCE
            while not (order := self._post(request)):
                if time.monotonic() > deadline:
                    self.given_up.append(code[-5:])
                    break
                self.again += 1
                time.sleep(0.2)
            else:
                self.orders[code] = order

    def _post(self, request: bytes) -> str:
        """The order's number, or nothing when there was no such answer."""
        reply = b""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.portal.web_port), timeout=20) as connection:
            connection.sendall(request)
            while part := connection.recv(65536):
                reply += part
        head = reply.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        location = next((line[10:] for line in head if line.lower().startswith("location: ")), "")
        return location.split("/")[2] if location.startswith("/orders/") else ""


@dataclass
class Verdict:
    """The portal's books beside the provider's."""

    redeemed: int
    acknowledged: int
    lost: int  # acknowledged to a member or placed, and not open
    doubled: int
    orphans: int
    missing: int  # open here, unknown there
    final: int
    active: int
    absorbed: int
    recovery: list[float]  # from the kill that cut an attempt off to the next attempt, in seconds

    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.orphans or self.missing)


def judge(portal: Portal, members: Members) -> Verdict:
    orders = {
        UUID(str(key)): (number, state)
        for key, number, state in portal.ask("SELECT key, number, state FROM orders_order")
    }
    numbers = {number for number, _state in orders.values()}
    there = Counter(resource.key for resource in portal.plane.resources(deleted=True))
    active = {key for key, (_number, state) in orders.items() if state == "active"}
    forgotten = sum(number not in numbers for number in members.orders.values())
    return Verdict(
        redeemed=len(orders),
        acknowledged=len(members.orders),
        lost=forgotten + len(orders) - len(active),
        doubled=sum(count > 1 for count in there.values()),
        orphans=sum(key not in active for key in there),
        missing=sum(key not in there for key in active),
        final=sum(state in ("active", "cancelled", "closed") for _number, state in orders.values()),
        active=len(active),
        absorbed=absorbed(portal),
        recovery=recovery(portal),
    )


def absorbed(portal: Portal) -> int:
    """Attempts after the one that made the product: each would have made another, had the key not been looked up."""
    made = {str(resource.key): resource.created for resource in portal.plane.resources(deleted=True)}
    attempts = portal.ask(
        "SELECT o.key, extract(epoch FROM a.started_at) FROM orders_provisioningattempt a JOIN orders_order o"
        " ON o.id = a.order_id WHERE o.product_type = 'virtual_host'"
    )
    return sum(float(started) > made.get(str(key), float("inf")) for key, started in attempts)


def recovery(portal: Portal) -> list[float]:
    """From the first kill after an attempt began that has no end, to the order's next attempt: rather too long."""
    rows = portal.ask(
        "SELECT extract(epoch FROM a.started_at), extract(epoch FROM b.started_at) FROM orders_provisioningattempt a"
        " JOIN orders_provisioningattempt b ON b.order_id = a.order_id AND b.fence = a.fence + 1"
        " WHERE a.finished_at IS NULL"
    )
    kills = [kill.at for kill in portal.kills]
    return sorted(
        float(again) - min([at for at in kills if at > float(began) - 0.5], default=float(began))
        for began, again in rows
    )
