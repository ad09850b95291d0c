"""A card or its batch is disabled just before each single statement of a redemption, on real second connections.

The redemption stops before its k-th statement; then the disabling either commits at once, or stands before a lock. For
every k, exactly one of two endings: disabled and the redemption refused, or used and the disabling refused or later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from django.db import connection

from cards import actions as card_actions
from cards.exceptions import UsedCardStays
from cards.models import Card, CardUse
from orders.exceptions import CardDisabled
from orders.models import Order

from .careless import lock_card_without_lock, use_card_unconditionally
from .test_interleaving import WAITING, Stage

pytestmark = [
    pytest.mark.postgres(reason="SQLite lets one writer in at a time; there are no row locks to interleave"),
    pytest.mark.django_db(transaction=True),
]
LAST = 40  # more statements than a redemption has


class StopBefore:
    """Stops this connection before its `number`-th statement until told to go on."""

    def __init__(self, number: int) -> None:
        self.number, self.seen = number, 0
        self.stopped, self.go = threading.Event(), threading.Event()
        self.sql = ""

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen += 1
        if self.seen == self.number:
            self.sql = " ".join(sql.split())[:60]
            self.stopped.set()
            assert self.go.wait(120)
        return execute(sql, params, many, context)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def ended_or_waits(future: Future[Any]) -> bool:
    """True when it ended; False when it stands before a lock."""
    pause, deadline = threading.Event(), time.monotonic() + 120
    while time.monotonic() < deadline:
        if future.done():
            return True
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            if cursor.fetchone()[0]:
                return False
        pause.wait(0.01)
    raise AssertionError("it neither ended nor waits")


def interleave(pool: ThreadPoolExecutor, number: int, disable: Callable[[Stage], None]) -> tuple[str, str] | None:
    """(the statement, what came of it) of a disabling before the `number`-th statement; None beyond the last."""
    stage, stop = Stage(pool), StopBefore(number)

    def redeem() -> Order:
        connection.ensure_connection()
        with connection.execute_wrapper(stop):
            return stage.redeem()

    redeeming = stage.elsewhere(redeem)
    while not stop.stopped.wait(0.01):
        if redeeming.done():
            redeeming.result()
            return None
    disabling = stage.elsewhere(lambda: disable(stage))
    at_once = ended_or_waits(disabling)
    stop.go.set()
    refused, kept = redeeming.exception(30), disabling.exception(30)
    used = Order.objects.filter(card=stage.card).count()
    assert used == CardUse.objects.filter(card=stage.card).count()
    if isinstance(refused, CardDisabled):
        assert (used, kept, at_once) == (0, None, True)
        return stop.sql, "disabled, redemption refused"
    assert refused is None
    assert used == 1
    assert Card.objects.get(pk=stage.card.pk).status == "used"
    if disable is Stage.disable_card:
        assert isinstance(kept, UsedCardStays)
    else:
        assert kept is None
    assert not at_once, f"{stop.sql}: disabled at once, and used after all"
    return stop.sql, "used, disabling refused or later"


@pytest.mark.parametrize("disable", [Stage.disable_batch, Stage.disable_card])
def test_disabled_before_every_statement(pool: ThreadPoolExecutor, disable: Callable[[Stage], None]) -> None:
    endings = []
    for number in range(1, LAST):
        ending = interleave(pool, number, disable)
        if ending is None:
            break
        endings.append(ending)
    print("\n" + "\n".join(f"{ending:34} before {sql}" for sql, ending in endings))
    outcomes = [ending for _sql, ending in endings]
    assert 8 < len(outcomes) < LAST - 1
    turned = outcomes.index("used, disabling refused or later")
    lock = "cards_batch" if disable is Stage.disable_batch else "cards_card"
    assert turned > 0
    assert lock in endings[turned - 1][0]  # refused until its own row is locked, used from then on
    assert set(outcomes[turned:]) == {"used, disabling refused or later"}


def test_negative_control_without_the_locks_some_statement_lets_it_by(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_actions, "lock_card", lock_card_without_lock)
    monkeypatch.setattr(card_actions, "use_card", use_card_unconditionally)
    numbers = count(1)
    with pytest.raises(AssertionError):
        list(iter(lambda: interleave(pool, next(numbers), Stage.disable_batch), None))
