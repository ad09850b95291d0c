"""The figures of the dashboard. Nothing here counts cards or orders one by one: see `cards.statistics`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from cards import statistics
from cards.choices import ProductType
from cards.days import today
from cards.models import Batch, Line
from cards.statistics import EVERYTHING, MONTHS, Scope, Stock

from .charts import bar_chart
from .choices import IN_FLIGHT, OrderState
from .leaks import tried_by_address, tried_by_member
from .models import Order

DAYS = 30
LAST_ORDERS = 1000
LOOKED_THROUGH = 20_000  # of the newest orders, when only some count
BATCHES_SHOWN = 10


@dataclass(frozen=True)
class Opening:
    """How the last orders went; the times are None when none of them was opened."""

    looked_at: int
    opened: int
    median: timedelta | None
    p95: timedelta | None
    failed_now: int
    attention_now: int
    in_flight: int


@dataclass(frozen=True)
class Month:
    """What happened in a month, and how many cards could be picked up at its end (now, for the present one)."""

    label: str
    issued: int
    picked: int
    returned: int
    ended: int
    outstanding: int


def overview(now: datetime, scope: Scope = EVERYTHING) -> dict[str, Any]:
    stock = statistics.stock(now, scope)
    lines = dict(Line.objects.values_list("pk", "name"))
    batches = Batch.objects.with_used().filter(issued__gt=0, **scope.of()).defer("wrapped_key")
    return {
        "stock": stock,
        "groups": sorted(
            ((ProductType(kind).label, lines[line], tally) for (kind, line), tally in stock.groups.items()),
            key=lambda row: -row[2].value,
        ),
        **_past(stock, scope),
        **_ahead(stock),
        "opening": opening(scope),
        "batches": list(batches[:BATCHES_SHOWN]),
        "members": tried_by_member(now - timedelta(days=7))[:5],
        "addresses": tried_by_address(now - timedelta(days=7))[:5],
    }


def _past(stock: Stock, scope: Scope) -> dict[str, Any]:
    """The last thirty days and twelve months."""
    present = today()
    picked = statistics.used_by_day(statistics.months_around(present)[1], scope)
    months = history(stock, present, picked, scope)
    labels = [month.label for month in months]
    days = [(day, picked.get(day, 0)) for day in (present - timedelta(days=back) for back in range(DAYS - 1, -1, -1))]
    return {
        "months": months,
        "month_chart": bar_chart(
            labels,
            [
                (_("issued"), [month.issued for month in months]),
                (_("picked up"), [month.picked for month in months]),
            ],
        ),
        "outstanding_chart": bar_chart(labels, [(_("outstanding"), [month.outstanding for month in months])]),
        "days": days,
        "day_chart": bar_chart([f"{day:%m-%d}" for day, _n in days], [(_("picked up"), [n for _day, n in days])]),
    }


def history(stock: Stock, present: date, picked: dict[date, int], scope: Scope) -> list[Month]:
    """The last twelve months, oldest first. What was outstanding is reckoned backwards from today's figure, by what was
    issued, picked up, returned and expired since; a card disabled by itself counts as if it had always been so."""
    months = statistics.months_around(present)[1 : MONTHS + 1]
    by_month = statistics.by_month(picked)
    returned = statistics.returned_by_month(months[0], scope)
    found, outstanding = [], stock.total.usable
    for month in reversed(months):
        issued, used = stock.issued_by_month.get(month, 0), by_month.get(month, 0)
        back, ended = returned.get(month, 0), stock.ended_by_month.get(month, 0)
        found.append(Month(f"{month:%Y-%m}", issued, used, back, ended, outstanding))
        outstanding = max(outstanding - issued + used - back + ended, 0)
    return found[::-1]


def _ahead(stock: Stock) -> dict[str, Any]:
    """When what is usable now expires."""
    months = statistics.months_around(today())[MONTHS:]
    labels = [*(f"{month:%Y-%m}" for month in months[:-1]), _("later")]
    cards = [stock.cards_by_month.get(month, 0) for month in months]
    values = [stock.value_by_month.get(month, 0) for month in months]
    return {
        "expiry": list(zip(labels, cards, values, strict=True)),
        "expiry_chart": bar_chart(labels, [("", values)], show=lambda value: f"{value:,.2f}"),
    }


def opening(scope: Scope = EVERYTHING) -> Opening:
    """From the newest orders only, so that it costs the same after years."""
    orders, newest = Order.objects.filter(**scope.of()), Order.objects.order_by("-pk").values_list("pk", flat=True)
    oldest = newest[LOOKED_THROUGH - 1 : LOOKED_THROUGH].first() or 0 if scope != EVERYTHING else 0
    latest = orders.filter(pk__gte=oldest).order_by("-pk")
    rows = list(latest.values_list("created_at", "opened_at", "state")[:LAST_ORDERS])
    took = sorted(opened - created for created, opened, state in rows if opened and state == OrderState.ACTIVE)
    watched = (*IN_FLIGHT, OrderState.FAILED, OrderState.NEEDS_ATTENTION)
    counts = dict(orders.filter(state__in=watched).order_by().values_list("state").annotate(n=Count("pk")))
    return Opening(
        looked_at=len(rows),
        opened=len(took),
        median=share(took, 0.5),
        p95=share(took, 0.95),
        failed_now=counts.get(OrderState.FAILED, 0),
        attention_now=counts.get(OrderState.NEEDS_ATTENTION, 0),
        in_flight=sum(counts.get(state, 0) for state in IN_FLIGHT),
    )


def share(ordered: list[timedelta], part: float) -> timedelta | None:
    """The smallest of these that at least `part` of them do not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None
