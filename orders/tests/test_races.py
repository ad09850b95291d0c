"""The races at full size, on real processes over HTTP: `make races`. CARDS and ROUNDS set the size.

1. Fifty members post one card's code at the same instant, from four client processes, card after card.
2. A card or its batch is disabled, or the batch expires, at a random moment around a redemption; judged by what each
   client was told.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from django.contrib.messages.storage.cookie import CookieStorage
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards.choices import AuditAction, CardStatus
from cards.models import AuditEvent, Batch, Card, CardUse, Image, UseCount
from cards.tests.factories import make_batch
from orders.models import Order

from .race import form_request, redeem_request, session_of, start_web
from .test_exactly_once import without_second_guard
from .volley import fire_from_processes, read_reply, send_but_last

pytestmark = [pytest.mark.heavy, pytest.mark.django_db(transaction=True)]

CLIENTS, REQUESTS = 4, 50
CARDS = int(os.environ.get("CARDS", "1000"))
SQLITE_CARDS = int(os.environ.get("SQLITE_CARDS", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "5000"))
CONTROL_CARDS = min(100, CARDS)
CONTROL_ROUNDS = min(600, ROUNDS)
Start = Callable[..., object]


# --- One card, fifty at once --------------------------------------------------------------------------------------
def everyone_at_once(port: int, cards: int) -> tuple[Batch, list[Counter[int]], float]:
    """(the batch, for each card how often each status was answered, seconds)."""
    batch, codes = make_batch(quantity=cards)
    sessions = [session_of(member) for member in UserFactory.create_batch(REQUESTS)]
    image_id = Image.objects.get(line=batch.line).pk
    start = time.monotonic()
    answers = fire_from_processes(
        port, [[redeem_request(session, code, image_id) for session in sessions] for code in codes], CLIENTS
    )
    return batch, [Counter(status for status, _reply in volley) for volley in answers], time.monotonic() - start


def test_one_order_per_card(start_process: Start) -> None:
    cards = CARDS if connection.vendor == "postgresql" else SQLITE_CARDS
    port = start_web(start_process, "pickup_portal.wsgi", workers=4, threads=13)
    batch, statuses, seconds = everyone_at_once(port, cards)
    total = sum(statuses, Counter[int]())
    print(
        f"\n{connection.vendor}: {cards} cards x {REQUESTS} simultaneous requests from {CLIENTS} client processes, "
        f"4 web processes, {seconds:.0f} s: {Order.objects.count()} orders, answers {dict(sorted(total.items()))}"
    )
    assert all(status[303] == 1 for status in statuses)
    assert total == {303: cards, 200: cards * (REQUESTS - 1)}
    assert Order.objects.count() == Order.objects.values("card").distinct().count() == cards
    assert batch.cards.filter(status=CardStatus.USED, sealed__isnull=True).count() == cards
    assert CardUse.objects.count() == cards
    assert sum(UseCount.objects.values_list("used", flat=True)) == cards
    assert AuditEvent.objects.filter(action=AuditAction.REDEEM).count() == cards


@pytest.mark.postgres(reason="on SQLite BEGIN IMMEDIATE lets one writer in at a time, so this race cannot be shown")
def test_negative_control_check_then_write_gives_cards_twice(start_process: Start) -> None:
    port = start_web(start_process, "orders.tests.careless_wsgi", workers=4, threads=13)
    with without_second_guard():
        everyone_at_once(port, CONTROL_CARDS)
        per_card = Counter(Order.objects.values_list("card_id", flat=True))
        doubled = sum(count > 1 for count in per_card.values())
        print(
            f"\nnegative control: {doubled} of {CONTROL_CARDS} cards given more than once, "
            f"worst {max(per_card.values())} orders"
        )
        assert doubled >= 0.9 * CONTROL_CARDS


# --- Withdrawn at a random moment ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Told:
    """What one client was told, and when it asked and heard."""

    status: int
    text: str
    sent: float
    heard: float


@dataclass(frozen=True)
class Round:
    kind: str
    card: Card
    redeemed: Told
    withdrawn: Told | None  # nobody asks when a batch expires by itself
    expires_at: datetime | None

    @property
    def used(self) -> bool:
        return self.redeemed.status == 303

    def verdict(self) -> str:
        """What the two clients together were told, or "BROKEN"."""
        judge = {"card": self._of_card, "batch": self._of_batch, "expiry": self._of_expiry}
        return f"{self.kind}: {judge[self.kind]()}"

    def _of_card(self) -> str:
        assert self.withdrawn is not None
        disabled = "is disabled" in self.withdrawn.text
        refused = "disabled by the seller" in self.redeemed.text
        if self.used and not disabled:
            return "used, disabling refused"
        return "disabled, redemption refused" if disabled and refused and not self.used else "BROKEN"

    def _of_batch(self) -> str:
        assert self.withdrawn is not None
        if "is disabled" not in self.withdrawn.text:
            return "BROKEN"
        if not self.used:
            return "disabled, redemption refused" if "disabled by the seller" in self.redeemed.text else "BROKEN"
        events = AuditEvent.objects.filter(batch=self.card.batch_id)
        disabled = events.filter(action=AuditAction.DISABLE_BATCH).latest("pk").pk
        before = events.get(action=AuditAction.REDEEM, card=self.card).pk < disabled
        return "used, disabled later" if before and self.redeemed.sent < self.withdrawn.heard else "BROKEN"

    def _of_expiry(self) -> str:
        assert self.expires_at is not None
        if not self.used:
            late = self.redeemed.heard >= self.expires_at.timestamp()
            return "expired, redemption refused" if late and "has expired" in self.redeemed.text else "BROKEN"
        early = self.redeemed.sent < self.expires_at.timestamp()
        used_at = Card.objects.values_list("used_at", flat=True).get(pk=self.card.pk)
        return "used, expired later" if early and used_at is not None and used_at < self.expires_at else "BROKEN"


class Lane:
    """One member and one clerk with a batch of their own, round after round."""

    def __init__(self, port: int, rounds: int, number: int) -> None:
        self.port, self.random = port, random.Random(number)  # noqa: S311 (moments, not secrets)
        self.batch, self.codes = make_batch(quantity=rounds)
        self.image_id = Image.objects.get(line=self.batch.line).pk
        self.cards = list(self.batch.cards.order_by("serial"))
        self.member = session_of(UserFactory.create())
        self.clerk = session_of(UserFactory.create(superuser=True))
        self.good_until = self.batch.expires_at
        self.span = 0.03  # seconds to either side in which moments are drawn: as long as a redemption takes here

    def run(self) -> list[str]:
        try:
            return [self.round(number).verdict() for number in range(len(self.cards))]
        finally:
            connection.close()

    def round(self, number: int) -> Round:
        kind, card = ("card", "batch", "expiry")[number % 3], self.cards[number]
        Batch.objects.filter(pk=self.batch.pk).update(disabled_at=None, expires_at=self.good_until)
        redemption = redeem_request(self.member, self.codes[number], self.image_id)
        moment = self.random.uniform(-self.span, self.span)
        if kind == "expiry":
            end = timezone.now() + timedelta(seconds=self.span)
            Batch.objects.filter(pk=self.batch.pk).update(expires_at=end)
            return Round(kind, card, self.ask(redemption, self.span + moment), None, end)
        path = f"/staff/cards/{self.batch.pk}/"
        path += "disable/" if kind == "batch" else f"{card.serial}/disable/"
        withdrawal = form_request(path, self.clerk, {"reason": "race"})
        with ThreadPoolExecutor(1) as other:
            later = other.submit(self.ask, withdrawal, max(0.0, moment))
            redeemed = self.ask(redemption, max(0.0, -moment))
            self.span = max(0.03, 0.9 * self.span + 0.1 * 1.5 * (redeemed.heard - redeemed.sent))
            return Round(kind, card, redeemed, later.result(60), None)

    def ask(self, request: bytes, delay: float) -> Told:
        threading.Event().wait(delay)
        sent = time.time()
        waiting = send_but_last(self.port, request)
        waiting.sendall(request[-1:])
        status, reply = read_reply(waiting)
        return Told(status, reply.decode() + messages_in(reply), sent, time.time())


def messages_in(reply: bytes) -> str:
    """The messages that the answer carries to the next page, as the client will read them there."""
    head = reply.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    cookies = SimpleCookie("; ".join(line[12:] for line in head if line.lower().startswith("set-cookie: ")))
    if "messages" not in cookies:
        return ""
    return " ".join(str(message) for message in CookieStorage(HttpRequest())._decode(cookies["messages"].value) or [])


def withdrawn_at_random(port: int, rounds: int, lanes: int = 4) -> Counter[str]:
    made = [Lane(port, rounds // lanes, number) for number in range(lanes)]
    with ThreadPoolExecutor(lanes) as pool:
        verdicts: Iterator[list[str]] = pool.map(lambda lane: lane.run(), made)
        return Counter(verdict for lane in verdicts for verdict in lane)


def shown(verdicts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(verdicts.items()))


def test_withdrawn_or_used_and_everyone_was_told_so(start_process: Start) -> None:
    rounds = ROUNDS if connection.vendor == "postgresql" else ROUNDS // 10
    port = start_web(start_process, "pickup_portal.wsgi", workers=3, threads=4)
    verdicts = withdrawn_at_random(port, rounds)
    print(f"\n{connection.vendor}: {sum(verdicts.values())} rounds: {shown(verdicts)}")
    assert not [verdict for verdict in verdicts if "BROKEN" in verdict]
    assert len(verdicts) == 6, "the moments never fell on one of the sides"
    assert Order.objects.count() == sum(count for verdict, count in verdicts.items() if ": used" in verdict)


@pytest.mark.postgres(reason="on SQLite BEGIN IMMEDIATE lets one writer in at a time, so this race cannot be shown")
def test_negative_control_check_then_write_uses_what_was_withdrawn(start_process: Start) -> None:
    port = start_web(start_process, "orders.tests.careless_wsgi", workers=3, threads=4)
    verdicts = withdrawn_at_random(port, CONTROL_ROUNDS)
    print(f"\nnegative control: {sum(verdicts.values())} rounds: {shown(verdicts)}")
    assert [verdict for verdict in verdicts if "BROKEN" in verdict]
