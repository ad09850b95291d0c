"""Cards in figures, from counters and short ranges: the cost depends on batches and days, not on cards."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Count, DateField, F, Max, Sum, When
from django.db.models.functions import TruncDate, TruncMonth
from django.utils import timezone

from .choices import AuditAction, BatchStatus
from .days import day_of, start_of, today
from .models import AuditEvent, Batch, CardUse, DisabledCount, UseDay

MONTHS = 12
SETTLED = timedelta(minutes=10)  # a pick-up of yesterday may still be committing


@dataclass
class Tally:
    """Cards of some batches. `value` is what the usable ones are worth at their reference prices."""

    issued: int = 0
    used: int = 0
    usable: int = 0
    disabled: int = 0
    expired: int = 0
    expiring: int = 0  # of the usable ones, within 30 days
    value: Decimal = field(default=Decimal(0))

    def add(self, other: Tally) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True)
class Scope:
    """Which cards are meant: all, or those of a product type, of a line (its key), or of both."""

    product_type: str = ""
    line: int | None = None

    def of(self, prefix: str = "") -> dict[str, Any]:
        """As conditions on rows that name them so, or that have a batch: `of("batch__")`."""
        named = {"product_type": self.product_type, "line": self.line}
        return {f"{prefix}{name}": value for name, value in named.items() if value}


EVERYTHING = Scope()


@dataclass
class Stock:
    """Cards by product type and line, in the portal's currency; `others` counts batches in another one.

    Months stand as their first days: those of `months_around`, the one before them for all earlier ones
    and the one after them for all later ones.
    """

    total: Tally
    groups: dict[tuple[str, int], Tally]
    value_by_month: dict[date, Decimal]  # of the usable cards, by the month they expire in
    cards_by_month: dict[date, int]
    issued_by_month: dict[date, int]
    ended_by_month: dict[date, int]  # expired, or disabled with their batch, without being picked up
    others: int = 0


def disabled_of(batch: Batch) -> int:
    """How many cards of the batch are disabled by themselves, replaced ones included."""
    return DisabledCount.objects.filter(batch=batch).values_list("cards", flat=True).first() or 0


def left_of(batch: Batch) -> int:
    """How many issued cards of the batch are neither used nor disabled by themselves; needs `with_used`."""
    return max(batch.issued - batch.used_cards - disabled_of(batch), 0)


def months_from(first: date, count: int) -> list[date]:
    start = first.year * 12 + first.month - 1
    return [date(number // 12, number % 12 + 1, 1) for number in range(start, start + count)]


def months_around(day: date) -> list[date]:
    """What `Stock` tells apart: the twelve months up to `day`, the twelve after them, and one more at each end."""
    return months_from(date(day.year - 1, day.month, 1), 2 * MONTHS + 2)


# The counters have a row or many for a batch, so that a join in the ORM's manner would multiply the batches or ask once
# for each of them. A replaced card is void, and its replacement stands for it: the two count once.
_STOCK = """
SELECT product_type, line_id, ours, month, kind, SUM(issued), SUM(used), SUM(dead), SUM(remaining),
       SUM(remaining * reference_price), SUM(CASE WHEN remaining > 0 THEN 1 ELSE 0 END)
FROM (
    SELECT product_type, line_id, reference_price, issued - replaced AS issued, COALESCE(uses.n, 0) AS used,
           COALESCE(gone.cards, 0) - replaced AS dead,
           CASE WHEN issued > COALESCE(uses.n, 0) + COALESCE(gone.cards, 0)
                THEN issued - COALESCE(uses.n, 0) - COALESCE(gone.cards, 0) ELSE 0 END AS remaining,
           CASE WHEN currency = %s THEN 1 ELSE 0 END AS ours,
           CASE WHEN disabled_at IS NOT NULL THEN 'disabled' WHEN expires_at <= %s THEN 'expired'
                WHEN expires_at <= %s THEN 'soon' ELSE 'usable' END AS kind,
           CASE {months} ELSE {later} END AS month
    FROM (SELECT *, CASE WHEN disabled_at < expires_at THEN disabled_at ELSE expires_at END AS ends FROM cards_batch) b
    LEFT JOIN (SELECT batch_id, SUM(used) AS n FROM cards_usecount GROUP BY batch_id) uses ON uses.batch_id = b.id
    LEFT JOIN cards_disabledcount gone ON gone.batch_id = b.id
    WHERE status <> %s{scope}
) each_batch
GROUP BY product_type, line_id, ours, month, kind
"""


def stock(now: datetime, scope: Scope = EVERYTHING) -> Stock:
    """How many cards there are, what became of them, and what the usable ones are worth, by month of expiry."""
    months = months_around(day_of(now))
    found = Stock(
        total=Tally(),
        groups=defaultdict(Tally),
        value_by_month=defaultdict(Decimal),
        cards_by_month=defaultdict(int),
        issued_by_month=_issued(scope, months),
        ended_by_month=defaultdict(int),
    )
    for product_type, line, ours, month, kind, issued, used, dead, left, value, batches in _stock_rows(
        now, scope, months
    ):
        usable, ended = (left, 0) if kind in ("usable", "soon") else (0, left)
        worth = round(value, 2) if usable and ours else Decimal(0)
        found.others += batches if usable and not ours else 0
        found.ended_by_month[months[month]] += ended
        if usable:
            found.value_by_month[months[month]] += worth
            found.cards_by_month[months[month]] += usable
        found.groups[product_type, line].add(
            Tally(
                issued=issued,
                used=used,
                usable=usable,
                disabled=dead + (left if kind == "disabled" else 0),
                expired=left if kind == "expired" else 0,
                expiring=left if kind == "soon" else 0,
                value=worth,
            )
        )
    for tally in found.groups.values():
        found.total.add(tally)
    return found


def _stock_rows(now: datetime, scope: Scope, months: list[date]) -> list[tuple[Any, ...]]:
    instant = connection.ops.adapt_datetimefield_value
    ends = [instant(start_of(month)) for month in months[1:]]
    # A card that expires as a month begins was good until the last day of the month before.
    cases = " ".join(f"WHEN ends <= %s THEN {number}" for number in range(len(ends)))
    conditions = "".join(f" AND {name}{'_id' if name == 'line' else ''} = %s" for name in scope.of())
    sql = _STOCK.format(months=cases, later=len(ends), scope=conditions)
    moments = [instant(now), instant(now + timedelta(days=30))]
    with connection.cursor() as cursor:
        cursor.execute(sql, [settings.CURRENCY, *moments, *ends, BatchStatus.CANCELLED.value, *scope.of().values()])
        return [(*row[:5], *map(int, row[5:9]), Decimal(row[9]), int(row[10])) for row in cursor.fetchall()]


def _issued(scope: Scope, months: list[date]) -> dict[date, int]:
    begun = Case(
        *(When(created_at__lt=start_of(month), then=number) for number, month in enumerate(months[1:])),
        default=len(months) - 1,
    )
    batches = Batch.objects.filter(**scope.of()).exclude(status=BatchStatus.CANCELLED).order_by()
    rows = batches.annotate(month=begun).values_list("month").annotate(n=Sum(F("issued") - F("replaced")))
    return {months[month]: n for month, n in rows}


# --- Pick-ups over time -----------------------------------------------------------------------------------------------
def _counted(start: date | None, end: date) -> list[tuple[date, str, int, int]]:
    """(day, product type, line, pick-ups) of the days from `start` up to and without `end`, from the usage log."""
    uses = CardUse.objects.filter(used_at__lt=start_of(end))
    if start:
        uses = uses.filter(used_at__gte=start_of(start))
    day = TruncDate("used_at", tzinfo=timezone.get_default_timezone())
    groups = uses.order_by().annotate(day=day, type=F("batch__product_type"), to=F("batch__line"))
    return list(groups.values_list("day", "type", "to").annotate(n=Count("pk")))


def _next_day() -> date | None:
    """The first day that is not summarised; None when none is."""
    last: date | None = UseDay.objects.aggregate(last=Max("day"))["last"]
    return last + timedelta(days=1) if last else None


@transaction.atomic
def summarise() -> int:
    """Put the days that are over into UseDay; returns how many rows. May run twice: the days' rows are unique."""
    end = day_of(timezone.now() - SETTLED)
    rows = [
        UseDay(day=day, product_type=kind, line_id=line, used=n) for day, kind, line, n in _counted(_next_day(), end)
    ]
    return len(UseDay.objects.bulk_create(rows, ignore_conflicts=True))


def used_by_day(since: date, scope: Scope = EVERYTHING) -> dict[date, int]:
    """Pick-ups by day since that day: whole days from their sums, the others from the usage log."""
    summed = UseDay.objects.filter(day__gte=since, **scope.of()).order_by().values_list("day").annotate(n=Sum("used"))
    days: dict[date, int] = defaultdict(int, summed)
    start = max(_next_day() or since, since)
    for day, kind, line, n in _counted(start, today() + timedelta(days=1)):
        if (scope.product_type or kind, scope.line or line) == (kind, line):
            days[day] += n
    return days


def returned_by_month(since: date, scope: Scope = EVERYTHING) -> dict[date, int]:
    """Cards given back since that day, by month: they can be picked up again, though their pick-ups stay counted."""
    deeds = AuditEvent.objects.filter(action=AuditAction.RETURN_CARD, at__gte=start_of(since), **scope.of("batch__"))
    month = TruncMonth("at", output_field=DateField(), tzinfo=timezone.get_default_timezone())
    return dict(deeds.order_by().values_list(month).annotate(n=Count("pk")))


def by_month(counted: dict[date, int]) -> dict[date, int]:
    months: dict[date, int] = defaultdict(int)
    for day, n in counted.items():
        months[day.replace(day=1)] += n
    return months
