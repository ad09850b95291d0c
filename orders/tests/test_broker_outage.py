"""The broker is away while a member confirms: he is answered at once, and his product opens when it is back.

Real processes: the web, a worker, the beat and a broker of the test's own. `make broker-outage`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.db import connection

from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.choices import OrderState
from orders.models import Order
from pickup_portal.testing.servers import broker_command

from .race import redeem_request, session_of, start_web
from .volley import read_reply, send_but_last

pytestmark = [pytest.mark.heavy, pytest.mark.django_db(transaction=True)]
ANSWER_SECONDS, OPEN_SECONDS = 2.0, 30.0
REDEMPTIONS = 5


class Broker:
    """A broker that can be frozen or killed, at one address."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = f"redis+socket://{home / 'broker.sock'}?virtual_host=0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(broker_command(self.home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with TemporaryDirectory(prefix="portal-broker-", dir="/tmp") as home, ExitStack() as stack:
        broker = Broker(Path(home))
        stack.callback(broker.kill)
        yield broker


def wait_until(condition: Callable[[], Any], seconds: float) -> float:
    """The seconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not come about in time"
        time.sleep(0.05)  # other processes do the work: the database is the only event we share
    return time.monotonic() - start


@pytest.mark.parametrize(("away", "back"), [(Broker.freeze, Broker.thaw), (Broker.kill, Broker.start)])
def test_redeeming_while_the_broker_is_away(
    start_process: Callable[..., Any], broker: Broker, away: Callable[[Broker], None], back: Callable[[Broker], None]
) -> None:
    def start(*arguments: str) -> Any:
        return start_process(*arguments, CELERY_BROKER_URL=broker.url, LOG_LEVEL="CRITICAL")

    celery = ("-m", "celery", "--quiet", "--app", "pickup_portal")
    programs = [
        (*celery, "worker", "--without-gossip", "--without-mingle", "--concurrency", "2", "--loglevel", "CRITICAL"),
        (*celery, "beat", "--scheduler", "celery.beat:Scheduler", "--loglevel", "CRITICAL"),
    ]
    running = [start(*program) for program in programs]
    restarts = 0
    port = start_web(start, "pickup_portal.wsgi", workers=1, threads=4)
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=REDEMPTIONS + 1)
    session = session_of(UserFactory.create())

    def redeem() -> float:
        waiting = send_but_last(port, request := redeem_request(session, codes.pop(), 0))
        start = time.monotonic()
        waiting.sendall(request[-1:])
        status, _reply = read_reply(waiting)
        assert status == 303
        return time.monotonic() - start

    def active() -> int:
        nonlocal restarts
        for number, program in enumerate(programs):  # as whatever supervises them would
            if running[number].poll() is not None:
                running[number], restarts = start(*program), restarts + 1
        return Order.objects.filter(state=OrderState.ACTIVE).count()

    before = redeem()
    wait_until(lambda: active() == 1, 60)  # web, worker and broker are at work
    away(broker)
    answered = [redeem() for _ in range(REDEMPTIONS)]
    assert Order.objects.exclude(state=OrderState.ACTIVE).count() == REDEMPTIONS
    back(broker)
    opened = wait_until(lambda: active() == 1 + REDEMPTIONS, OPEN_SECONDS)
    print(
        f"\n{connection.vendor}, {away.__name__}: {REDEMPTIONS} redemptions answered within {max(answered):.2f} s "
        f"(before: {before:.2f} s), all open {opened:.1f} s after the broker's return, "
        f"{restarts} restarts of worker or beat"
    )
    assert max(answered) < ANSWER_SECONDS
