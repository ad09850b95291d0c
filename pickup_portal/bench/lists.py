"""`bench lists`: what a large table costs the staff's lists, beside a small one.

Batches of 10,000 cards are made until the table holds as many as asked for, two cards in a hundred marked as used by
plain statements (their orders are left out, so that `check_invariants` complains afterwards: for a scratch database).
The list of batches, a batch's details, the usage log and the search by code are measured with the first batch alone,
and again at the end.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.urls import reverse

from accounts.command import table
from accounts.models import User
from cards.models import Batch, Card
from cards.vault import BatchVault

from .pages import counted_queries, percentile, signed_in
from .scratch import CannotMeasure, scratch_batch, scratch_members

CARDS_A_BATCH = 10_000
USED_EVERY = 50
TIMES = 40


@dataclass(frozen=True)
class Cost:
    queries: int
    median_ms: float
    p95_ms: float


def run(cards: int) -> dict[str, Any]:
    """Raises CannotMeasure."""
    staff = User.objects.filter(is_active=True, is_superuser=True, is_staff=True).order_by("pk").first()
    if staff is None:
        raise CannotMeasure("The lists need a superuser to look at them; seed_demo makes one.")
    (member,), first = scratch_members(1), None
    small: dict[str, Cost] = {}
    start, made = time.monotonic(), 0
    while made < cards:
        batch = scratch_batch(CARDS_A_BATCH, made=True)
        _use_some(batch, member)
        made += CARDS_A_BATCH
        if first is None:
            first = batch
            small = _measure_all(first, staff)
    took = time.monotonic() - start
    if first is None:
        raise CannotMeasure("-n is the number of cards.")
    large = _measure_all(first, staff)
    return {
        "cards": Card.objects.count(),
        "batches": Batch.objects.count(),
        "made_per_second": round(made / took),
        "pages": [_row(name, small[name], large[name]) for name in small],
    }


def _row(page: str, small: Cost, large: Cost) -> dict[str, Any]:
    return {
        "page": page,
        "queries_small": small.queries,
        "queries": large.queries,
        "median_ms_small": small.median_ms,
        "median_ms": large.median_ms,
        "p95_ms": large.p95_ms,
        "times": round(large.median_ms / small.median_ms, 2),
    }


@transaction.atomic
def _use_some(batch: Batch, member: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cards_carduse (card_id, batch_id, member_id, order_number, used_at)"
            " SELECT id, batch_id, %s, 'bench-' || id, CURRENT_TIMESTAMP FROM cards_card"
            " WHERE batch_id = %s AND serial %% %s = 0",
            [member.pk, batch.pk, USED_EVERY],
        )
        cursor.execute(
            "UPDATE cards_card SET status = 'used', used_at = CURRENT_TIMESTAMP, used_by_id = %s, sealed = NULL"
            " WHERE batch_id = %s AND serial %% %s = 0",
            [member.pk, batch.pk, USED_EVERY],
        )
    batch.use_counts.update_or_create(slot=0, defaults={"used": CARDS_A_BATCH // USED_EVERY})


def _measure_all(batch: Batch, staff: User) -> dict[str, Cost]:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    card = batch.cards.get(serial=CARDS_A_BATCH - 1)
    code = BatchVault.of(batch).open(card.serial, bytes(card.sealed or b""))
    with signed_in({"staff": staff}) as clients:
        client = clients["staff"]
        number = f"{batch.pk}"
        asked: dict[str, Callable[[], Any]] = {
            "batch list": lambda: client.get(reverse("staff:batch-list")),
            "batch list, far from its start": lambda: client.get(reverse("staff:batch-list"), {"before": batch.pk + 1}),
            "batch details": lambda: client.get(reverse("staff:batch-detail", args=[batch.pk])),
            "usage log": lambda: client.get(reverse("staff:usage-log")),
            "usage log of a batch": lambda: client.get(reverse("staff:usage-log"), {"q": number}),
            "find by code": lambda: client.post(reverse("staff:card-find"), {"q": code}),
        }
        return {name: _measure(ask) for name, ask in asked.items()}


def _measure(ask: Callable[[], Any]) -> Cost:
    ask()
    with counted_queries() as seen:
        answer = ask()
    if answer.status_code != 200:
        raise CannotMeasure(f"{answer.request['PATH_INFO']} answered {answer.status_code}.")
    took = []
    for _round in range(TIMES):
        start = time.perf_counter()
        ask()
        took.append((time.perf_counter() - start) * 1000)
    return Cost(len(seen), round(statistics.median(took), 1), round(percentile(took, 0.95), 1))


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield from table(result["pages"], result["pages"][0])
    yield (
        f"{result['cards']} cards in {result['batches']} batches beside {CARDS_A_BATCH} in one; "
        f"made at {result['made_per_second']} cards a second."
    )
