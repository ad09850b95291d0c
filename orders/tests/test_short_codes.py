"""Imported codes that can be guessed: unknown, used, disabled and expired cannot be told apart, by word or by time.

`make short-codes` measures; SHORT_CODES sets how many of each.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import imports
from cards.actions import Validity, disable_batch
from cards.choices import ProductType
from cards.models import Batch
from cards.tests.factories import SPECS, ImageFactory, make_batch
from orders import redemption
from orders.exceptions import CardDisabled, UnknownCode

from .cast import alice, client_of, place_order
from .race import redeem_request, session_of, start_web
from .volley import read_reply, send_but_last

__all__ = ["alice"]
EACH = int(os.environ.get("SHORT_CODES", "2000"))
KINDS = ("unknown", "used", "disabled", "expired")
HEX = "0123456789ABCDEF"


def old_codes(each: int) -> dict[str, list[str]]:
    """16 hexadecimal digits, 64 bits, of each kind."""
    draw = random.Random(3)  # noqa: S311 (test data)
    return {kind: ["".join(draw.choices(HEX, k=16)) for _ in range(each)] for kind in KINDS}


def take_in(codes: list[str]) -> Batch:
    line = ImageFactory.create().line
    batch = imports.import_batch(
        file=imports.read_codes(codes, alphabet=frozenset(HEX), length=None),
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


def prepare(codes: dict[str, list[str]]) -> None:
    used, disabled, expired = take_in(codes["used"]), take_in(codes["disabled"]), take_in(codes["expired"])
    bob, image_id = UserFactory.create(), used.line.images.get().pk
    for code in codes["used"]:
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
    codes = old_codes(2)
    prepare(codes)
    client: Client = client_of(alice)
    seen: set[tuple[int, str]] = set()
    for kind in KINDS:
        response = client.post("/cards/redeem/", {"step": step, "code": codes[kind][0], "image": "1", "agreed": "0"})
        seen.add((response.status_code, plain(response.content, codes[kind][0])))
    assert len(seen) == 1
    assert "We do not know this code" in seen.pop()[1]


@pytest.mark.django_db
@pytest.mark.parametrize("ask", [redemption.preview, redemption.redeem])
def test_the_plain_refusal_takes_its_time_and_the_truth_does_not(
    alice: User, settings: Settings, ask: Callable[..., object]
) -> None:
    codes = old_codes(1)
    prepare(codes)
    settings.PLAIN_REFUSAL = timedelta(seconds=0.4)
    for kind in KINDS:
        start = time.monotonic()
        with pytest.raises(UnknownCode):
            ask(code=codes[kind][0], member=alice)
        assert time.monotonic() - start >= 0.4
    batch, (code,) = make_batch(quantity=1)
    disable_batch(batch=batch, actor=None)
    settings.PLAIN_REFUSAL = timedelta(hours=1)
    with pytest.raises(CardDisabled):
        ask(code=code, member=alice)


@pytest.mark.heavy
@pytest.mark.django_db(transaction=True)
def test_all_are_answered_in_the_same_time(start_process: Callable[..., Any]) -> None:
    codes = old_codes(EACH)
    prepare(codes)

    def start(*arguments: str) -> None:
        start_process(
            *arguments, THROTTLE_MEMBER="30000", THROTTLE_ADDRESS="1000000", THROTTLE_GLOBAL="1000000",
            PLAIN_REFUSAL_MS="200", LOG_LEVEL="CRITICAL",
        )  # fmt: skip

    port = start_web(start, "pickup_portal.wsgi", workers=1, threads=2)
    session = session_of(UserFactory.create())
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(EACH):
        order = random.sample(KINDS, len(KINDS))
        for kind in order:
            waiting = send_but_last(port, request := redeem_request(session, codes[kind][number], 1))
            start_at = time.perf_counter()
            waiting.sendall(request[-1:])
            status, reply = read_reply(waiting)
            took[kind].append((time.perf_counter() - start_at) * 1000)
            assert status == 200
            assert b"We do not know this code" in reply
    means = {kind: statistics.fmean(times) for kind, times in took.items()}
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    print(
        f"\n{connection.vendor}, {EACH} of each, mean ms: {', '.join(f'{k} {m:.2f}' for k, m in means.items())}; "
        f"largest difference {max(means.values()) - min(means.values()):.2f} ms of means, "
        f"{max(medians.values()) - min(medians.values()):.2f} ms of medians"
    )
    assert max(means.values()) - min(means.values()) < 1
