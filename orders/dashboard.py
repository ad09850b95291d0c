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
from cards.models import Batch, Line

from .charts import Chart, bar_chart
from .choices import IN_FLIGHT, OrderState
from .leaks import tried_by_address, tried_by_member
from .models import Order

DAYS, MONTHS = 30, 12
LAST_ORDERS = 1000
BATCHES_SHOWN = 10


@dataclass(frozen=True)
class Opening:
    """How the last orders went. Times in seconds, None when none of them was opened."""

    looked_at: int
    opened: int
    median: timedelta | None
    p95: timedelta | None
    failed_now: int
    attention_now: int
    in_flight: int


def months_from(first: date, count: int) -> list[date]:
    start = first.year * 12 + first.month - 1
    return [date(number // 12, number % 12 + 1, 1) for number in range(start, start + count)]


def overview(now: datetime) -> dict[str, Any]:
    stock = statistics.stock(now)
    today = statistics.today()
    this_month = today.replace(day=1)
    past = months_from(date(today.year - 1, today.month, 1), MONTHS + 1)[1:]
    counted = statistics.used_by_day(past[0])
    picked = statistics.by_month(counted)
    ahead = months_from(this_month, MONTHS)
    later = sum(n for month, n in stock.cards_by_month.items() if month > ahead[-1])
    later_value = sum((value for month, value in stock.value_by_month.items() if month > ahead[-1]), start=0)
    expiry = [
        *(
            (f"{month:%Y-%m}", stock.cards_by_month.get(month, 0), stock.value_by_month.get(month, 0))
            for month in ahead
        ),
        (_("later"), later, later_value),
    ]
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    by_day: dict[date, int] = {}
    for day, _kind, n in counted:
        by_day[day] = by_day.get(day, 0) + n
    lines = dict(Line.objects.values_list("pk", "name"))
    return {
        "stock": stock,
        "groups": sorted(
            ((ProductType(kind).label, lines[line], tally) for (kind, line), tally in stock.groups.items()),
            key=lambda row: -row[2].value,
        ),
        "months": [(f"{month:%Y-%m}", stock.issued_by_month.get(month, 0), picked.get(month, 0)) for month in past],
        "month_chart": _month_chart(past, stock.issued_by_month, picked),
        "days": [(day, by_day.get(day, 0)) for day in days],
        "day_chart": bar_chart(
            [f"{day:%m-%d}" for day in days],
            [(_("picked up"), [by_day.get(day, 0) for day in days])],
        ),
        "expiry": expiry,
        "expiry_chart": bar_chart(
            [label for label, _n, _value in expiry],
            [("", [value for _label, _n, value in expiry])],
            show=lambda value: f"{value:,.2f}",
        ),
        "opening": opening(),
        "batches": list(Batch.objects.with_used().filter(issued__gt=0).defer("wrapped_key")[:BATCHES_SHOWN]),
        "members": tried_by_member(now - timedelta(days=7))[:5],
        "addresses": tried_by_address(now - timedelta(days=7))[:5],
    }


def _month_chart(months: list[date], issued: dict[date, int], picked: dict[date, int]) -> Chart:
    return bar_chart(
        [f"{month:%Y-%m}" for month in months],
        [
            (_("issued"), [issued.get(month, 0) for month in months]),
            (_("picked up"), [picked.get(month, 0) for month in months]),
        ],
    )


def opening() -> Opening:
    """From the newest orders only, so that it costs the same after years."""
    newest = Order.objects.order_by("-pk").values_list("created_at", "opened_at", "state")[:LAST_ORDERS]
    rows = list(newest)
    took = sorted(opened - created for created, opened, state in rows if opened and state == OrderState.ACTIVE)
    watched = (*IN_FLIGHT, OrderState.FAILED, OrderState.NEEDS_ATTENTION)
    counts = dict(Order.objects.filter(state__in=watched).order_by().values_list("state").annotate(n=Count("pk")))
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
