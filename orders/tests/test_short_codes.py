"""Imported codes that can be guessed: unknown, used, disabled and expired cannot be told apart, by word or by time.

`make short-codes` measures; SHORT_CODES sets how many of each.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import codes, imports
from cards.actions import Validity, disable_batch
from cards.choices import ProductType
from cards.models import Batch
from cards.tests.factories import SPECS, ImageFactory, make_batch
from orders import proof, redemption
from orders.exceptions import CardDisabled, UnknownCode

from .cast import alice, client_of, place_order
from .race import redeem_request, session_of, start_web
from .volley import read_reply, send_but_last

__all__ = ["alice"]
EACH = int(os.environ.get("SHORT_CODES", "2000"))
LANES = 8  # asked at a time: two fifths of a processor, since the others only wait
KINDS = ("unknown", "used", "disabled", "expired")
HEX = "0123456789ABCDEF"


def old_codes(each: int) -> dict[str, list[str]]:
    """16 hexadecimal digits, 64 bits, of each kind."""
    draw = random.Random(3)  # noqa: S311 (test data)
    return {kind: ["".join(draw.choices(HEX, k=16)) for _ in range(each)] for kind in KINDS}


def take_in(old: list[str]) -> Batch:
    line = ImageFactory.create().line
    batch = imports.import_batch(
        file=imports.read_codes(old, alphabet=frozenset(HEX), length=None),
        product_type=ProductType.CLOUD_SERVER,
        name="旧卡",
        line=line,
        spec=SPECS[ProductType.CLOUD_SERVER],
        term_months=12,
        validity=Validity.months(12),
    )
    assert batch is not None
    assert batch.guessable
    return batch


def prepare(old: dict[str, list[str]]) -> None:
    used, disabled, expired = take_in(old["used"]), take_in(old["disabled"]), take_in(old["expired"])
    bob, image_id = UserFactory.create(), used.line.images.get().pk
    for code in old["used"]:
        place_order(code=code, member=bob, image_id=image_id)
    disable_batch(batch=disabled, actor=None)
    Batch.objects.filter(pk=expired.pk).update(expires_at=timezone.now())


def plain(page: bytes, code: str) -> str:
    """The page without what is the reader's own: the code he typed, and the form's token."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "TOKEN", page.decode())
    return text.replace(code, "CODE")


@pytest.mark.django_db
@pytest.mark.parametrize("step", ["check", "confirm"])
def test_all_are_answered_alike(alice: User, settings: Settings, step: str) -> None:
    old = old_codes(2)
    prepare(old)
    client: Client = client_of(alice)
    seen: set[tuple[int, str]] = set()
    for kind in KINDS:
        response = client.post("/cards/redeem/", {"step": step, "code": old[kind][0], "image": "1", "agreed": "0"})
        seen.add((response.status_code, plain(response.content, old[kind][0])))
    assert len(seen) == 1
    assert "We do not know this code" in seen.pop()[1]


@pytest.mark.django_db
@pytest.mark.parametrize("ask", [redemption.preview, redemption.redeem])
def test_the_plain_refusal_takes_its_time_and_the_truth_does_not(
    alice: User, settings: Settings, ask: Callable[..., object]
) -> None:
    old = old_codes(1)
    prepare(old)
    settings.PLAIN_REFUSAL = timedelta(seconds=0.4)
    for kind in KINDS:
        start = time.monotonic()
        with pytest.raises(UnknownCode):
            ask(code=old[kind][0], member=alice)
        assert time.monotonic() - start >= 0.4
    batch, (code,) = make_batch(quantity=1)
    disable_batch(batch=batch, actor=None)
    settings.PLAIN_REFUSAL = timedelta(hours=1)
    with pytest.raises(CardDisabled):
        ask(code=code, member=alice)


@pytest.mark.django_db
def test_no_more_than_so_many_threads_of_a_process_wait(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's wrong codes cannot hold all the threads: one who comes on top is answered at once."""
    monkeypatch.setattr(proof, "_waits", threading.BoundedSemaphore(1))
    slept: list[float] = []
    within: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        monkeypatch.setattr(time, "sleep", within.append)
        proof._wait_until(time.monotonic() + 60)

    monkeypatch.setattr(time, "sleep", sleep)
    proof._wait_until(time.monotonic() + 60)
    assert 59 < slept[0] <= 60
    assert within == []
    proof._wait_until(time.monotonic() + 60)  # the first one's place is free again
    assert len(within) == 1


@pytest.mark.django_db
def test_a_code_that_cannot_be_guessed_is_refused_without_waiting(alice: User, settings: Settings) -> None:
    prepare(old_codes(1))
    settings.PLAIN_REFUSAL = timedelta(hours=1)
    with pytest.raises(UnknownCode):
        redemption.preview(code=codes.make(1)[0], member=alice)


# --- Measured ---------------------------------------------------------------------------------------------------------
@dataclass
class Stopwatch:
    """Posts codes over keep-nothing connections and keeps how long each answer took, in milliseconds."""

    port: int
    session: str
    took: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def ask(self, kind: str, code: str) -> None:
        waiting = send_but_last(self.port, request := redeem_request(self.session, code, 1))
        start_at = time.perf_counter()
        waiting.sendall(request[-1:])
        status, reply = read_reply(waiting)
        self.took[kind].append((time.perf_counter() - start_at) * 1000)
        assert status == 200
        assert b"We do not know this code" in reply

    def lap(self, share: list[tuple[str, str]]) -> None:
        for kind, code in share:
            self.ask(kind, code)

    def figures(self) -> str:
        each = ", ".join(
            f"{kind} {statistics.fmean(times):.2f} (sd {statistics.stdev(times):.2f})"
            for kind, times in self.took.items()
        )
        return f"mean ms: {each}; largest difference of means {self.spread():.3f} ms"

    def spread(self) -> float:
        means = [statistics.fmean(times) for times in self.took.values()]
        return max(means) - min(means)


def measure(start_process: Callable[..., Any], codes_of: dict[str, list[str]], pad_ms: int) -> Stopwatch:
    """Ask for every code once, `LANES` at a time, the kinds in random order."""

    def start(*arguments: str) -> None:
        start_process(
            *arguments, THROTTLE_MEMBER="30000", THROTTLE_ADDRESS="1000000", THROTTLE_GLOBAL="1000000",
            PLAIN_REFUSAL_MS=str(pad_ms), PLAIN_REFUSALS_AT_ONCE="1000", LOG_LEVEL="CRITICAL",
        )  # fmt: skip

    port = start_web(start, "pickup_portal.wsgi", workers=2, threads=LANES)
    todo = [(kind, code) for kind, all_of_it in codes_of.items() for code in all_of_it]
    random.shuffle(todo)
    watches = [Stopwatch(port, session_of(UserFactory.create())) for _lane in range(LANES)]
    for _connection in range(4 * LANES):
        watches[0].ask("unknown", "F" * 16)  # every process has its connections and its code before the clock counts
    watches[0].took["unknown"].clear()
    with ThreadPoolExecutor(LANES) as lanes:
        list(lanes.map(Stopwatch.lap, watches, [todo[lane::LANES] for lane in range(LANES)]))
    together = {kind: [time for watch in watches for time in watch.took[kind]] for kind in KINDS}
    return Stopwatch(port, "", together)


@pytest.mark.heavy
@pytest.mark.django_db(transaction=True)
def test_all_are_answered_in_the_same_time(start_process: Callable[..., Any]) -> None:
    of_each_kind = old_codes(EACH)
    prepare(of_each_kind)
    few = {kind: of_kind[: max(2, EACH // 10)] for kind, of_kind in of_each_kind.items()}
    print(f"\n{connection.vendor}, control without the fixed time, {len(few['used'])} of each:")
    print(measure(start_process, few, 0).figures())
    watch = measure(start_process, of_each_kind, 200)
    print(f"{EACH} of each, {LANES} at a time, all after a fixed 200 ms:\n{watch.figures()}")
    assert {len(times) for times in watch.took.values()} == {EACH}
    assert watch.spread() < 1
