"""`bench scale`: every page with the demo's data, and again with 10,000 batches and a million cards beside it.

Beside the pages of `bench pages`: pages far from a list's start, its filters alone and together, its searches, and the
first rows of its CSV.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

from accounts.command import table
from accounts.models import User
from cards.models import AuditEvent, Batch, Card, CardUse, Line
from orders.models import Order, Service

from .pages import MEMBER, STAFF, Page, PageResult, Sample, find_sample, measure_all, pages, wrong
from .volume import Volume

TIMES = 20
SLOW_MS = 100
DAYS = {"since": "2025-01-01", "until": "2026-12-31"}


def run(cards: int) -> dict[str, Any]:
    """Raises CannotMeasure."""
    small = {(each.page, each.who): each for each in _measured()}
    start = time.monotonic()
    made = Volume(cards).write()
    took = time.monotonic() - start
    large = _measured()
    rows = [_row(each, small.get((each.page, each.who))) for each in large]
    return {
        "made": made,
        "seconds": round(took),
        "batches": Batch.objects.count(),
        "cards": Card.objects.count(),
        "members": User.objects.filter(is_staff=False).count(),
        "orders": Order.objects.count(),
        "events": AuditEvent.objects.count(),
        "database": connection.vendor,
        "pages": rows,
        "growing": [row["page"] for row in rows if row["queries"] > (row["queries_before"] or row["queries"])],
        "slow": [row["page"] for row in rows if row["cpu_ms"] > SLOW_MS],
        "wrong": wrong({"pages": [asdict(each) for each in large]}),
    }


def _measured() -> list[PageResult]:
    sample = find_sample()
    return measure_all([*pages(sample), *questions(sample)], TIMES, sample)[0]


def _row(large: PageResult, small: PageResult | None) -> dict[str, Any]:
    return {
        "page": large.page,
        "who": large.who,
        "status": large.status,
        "queries_before": small.queries if small else None,
        "queries": large.queries,
        "median_before": small.median_ms if small else None,
        "median_ms": large.median_ms,
        "p95_ms": large.p95_ms,
        "cpu_before": small.cpu_ms if small else None,
        "cpu_ms": large.cpu_ms,
        "kb": large.kb,
    }


def questions(sample: Sample) -> Iterator[Page]:
    """What people ask the lists."""
    line, member = Line.objects.order_by("pk").values_list("pk", flat=True)[0], sample.member
    card = sample.card
    lists: dict[str, dict[str, dict[str, Any]]] = {
        "staff:batch-list": {
            "far": {"before": _middle(Batch)},
            "by expiry": {"sort": "expires"},
            "type, line": {"type": "bare_metal", "line": line},
            "normal": {"status": "normal"},
            "used up": {"status": "used_up"},
            "ends in 30 days": {"validity": "30"},
            "creator, days": {"creator": "auditor", **DAYS},
            "all filters": {
                **{"type": "bare_metal", "line": line, "status": "disabled", "validity": "over", "creator": "issuer"},
                **DAYS,
            },
            "q=ID": {"q": str(card.batch_id)},
            "q=name": {"q": "代理商"},
            "q=nothing": {"q": "no such name"},
        },
        "staff-orders:dashboard": {"type, line": {"type": "bare_metal", "line": line}},
        "staff:usage-log": {
            "far": {"before": _middle(CardUse)},
            "type, line": {"type": "bare_metal", "line": line},
            "days": DAYS,
            "by time": {"sort": "picked"},
            "by time, type, days": {"sort": "-picked", "type": "bare_metal", **DAYS},
            "q=batch": {"q": str(card.batch_id)},
            "q=batch, type, days": {"q": str(card.batch_id), "type": "virtual_host", **DAYS},
            "q=member": {"q": member.username},
            "q=nothing": {"q": "no such person"},
        },
        "staff-orders:list": {
            "far": {"before": _middle(Order)},
            "state": {"state": "active"},
            "stuck": {"state": "stuck"},
            "type, line, days": {"type": "bare_metal", "line": line, **DAYS},
            "q=number": {"q": sample.order.number},
            "q=member": {"q": member.username},
            "q=part of a name": {"q": "member0"},
            "q=nothing": {"q": "no such person"},
            "q=nothing, stuck": {"q": "no such person", "state": "stuck"},
        },
        "staff-orders:service-list": {
            "far": {"before": _middle(Service)},
            "state": {"state": "suspended"},
            "attention": {"attention": "on"},
            "q=number": {"q": sample.order.number},
            "q=member": {"q": member.username},
        },
        "staff-orders:member-list": {
            "far": {"before": _middle(User)},
            "disabled": {"state": "disabled"},
            "q=name": {"q": member.username},
            "q=ID": {"q": str(member.pk)},
            "q=nothing": {"q": "no such person"},
        },
        "staff:audit-trail": {
            "far": {"before": _middle(AuditEvent)},
            "action": {"action": "replace_card"},
            "actor": {"actor": sample.staff.username},
            "actor, action": {"actor": sample.staff.username, "action": "return_card"},
            "batch": {"batch": str(card.batch_id)},
            "batch, serial": {"batch": str(card.batch_id), "serial": str(card.serial)},
            "days": DAYS,
            "action, days": {"action": "disable_card", **DAYS},
        },
    }
    for name, asked in lists.items():
        for what, query in asked.items():
            yield Page(f"{name} {what}", STAFF, f"{reverse(name)}?{urlencode(query)}")
    batch = card.batch_id
    detail = reverse("staff:batch-detail", args=[batch])
    yield Page("staff:batch-detail unused", STAFF, f"{detail}?status=unused")
    yield Page("staff:batch-detail serial", STAFF, f"{detail}?serial={card.serial}")
    for name in ("orders:cards", "orders:list", "orders:services", "ledger"):
        yield Page(f"{name} far", MEMBER, f"{reverse(name)}?before=1000000000")
    for what, text in {
        "last four": card.last4,
        "batch/serial": f"{batch}/{card.serial}",
        "member": member.username,
        "nothing": "no such thing",
    }.items():
        yield Page(f"staff:card-find {what}", STAFF, reverse("staff:card-find"), {"q": text})
    for name, query in {
        "staff:batch-csv": {"status": "normal"},
        "staff:usage-csv": {"q": str(batch)},
        "staff-orders:csv": {"state": "active"},
        "staff:audit-csv": {"action": "reveal"},
    }.items():
        yield Page(f"{name} first rows", STAFF, reverse(name), {})
        yield Page(f"{name} first rows, filtered", STAFF, f"{reverse(name)}?{urlencode(query)}", {})


def _middle(model: Any) -> int:
    last: int = model._base_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
    return last // 2 + 1


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield from table(result["pages"], result["pages"][0])
    yield (
        f"{result['cards']} cards in {result['batches']} batches, {result['members']} members, {result['orders']} "
        f"orders, {result['events']} audit events on {result['database']}; made in {result['seconds']} s. "
        f"{TIMES} requests each; `before`: with the demo's data alone."
    )
    yield f"More queries than before: {', '.join(result['growing']) or 'no page'}."
    yield f"More than {SLOW_MS} ms of processor time: {', '.join(result['slow']) or 'no page'}."
