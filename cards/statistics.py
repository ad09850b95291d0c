"""Cards in figures, from counters and short ranges: the cost depends on batches and days, not on cards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Max, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from .choices import BatchStatus
from .models import Batch, CardUse, DisabledCount, UseCount, UseDay

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

    @property
    def rate(self) -> int:
        """Percent picked up of what was issued."""
        return round(100 * self.used / self.issued) if self.issued else 0


@dataclass
class Stock:
    """All cards, by product type and line, in the portal's currency; `others` counts batches in another one."""

    total: Tally
    groups: dict[tuple[str, int], Tally]
    value_by_month: dict[date, Decimal]
    cards_by_month: dict[date, int]
    issued_by_month: dict[date, int]
    others: int = 0


def left_of(batch: Batch) -> int:
    """How many issued cards of the batch are neither used nor disabled by themselves; needs `with_used`."""
    disabled = DisabledCount.objects.filter(batch=batch).values_list("cards", flat=True).first() or 0
    return max(batch.issued - batch.used_cards - disabled, 0)


def stock(now: datetime) -> Stock:
    """How many cards there are, what became of them, and what the usable ones are worth, by month of expiry."""
    found = Stock(Tally(), defaultdict(Tally), defaultdict(Decimal), defaultdict(int), defaultdict(int))
    used = dict(UseCount.objects.order_by().values_list("batch").annotate(n=Sum("used")))
    dead = dict(DisabledCount.objects.values_list("batch", "cards"))
    months: dict[datetime, date] = {}
    zone, soon = timezone.get_default_timezone(), now + timedelta(days=30)
    rows = (
        Batch.objects.exclude(status=BatchStatus.CANCELLED)
        .order_by()
        .values_list(
            *("pk", "product_type", "line", "issued", "replaced", "reference_price"),
            *("currency", "expires_at", "disabled_at", "created_at"),
        )
    )
    for pk, product_type, line, made, replaced, price, currency, expires_at, disabled_at, created_at in rows.iterator():
        # A replaced card is void, and its replacement stands for it: the two count once.
        issued, taken, disabled = made - replaced, used.get(pk, 0), dead.get(pk, 0) - replaced
        left = max(issued - taken - disabled, 0)
        usable = left if disabled_at is None and expires_at > now else 0
        ours = currency == settings.CURRENCY
        value = price * usable if ours else Decimal(0)
        found.others += bool(usable and not ours)
        found.issued_by_month[created_at.astimezone(zone).date().replace(day=1)] += issued
        if usable:
            month = months.get(expires_at) or (expires_at - timedelta(seconds=1)).astimezone(zone).date().replace(day=1)
            months[expires_at] = month
            found.value_by_month[month] += value
            found.cards_by_month[month] += usable
        tally = found.groups[product_type, line]
        tally.issued += issued
        tally.used += taken
        tally.usable += usable
        tally.disabled += disabled + (left if disabled_at else 0)
        tally.expired += left if not disabled_at and expires_at <= now else 0
        tally.expiring += usable if expires_at <= soon else 0
        tally.value += value
    for tally in found.groups.values():
        found.total.add(tally)
    return found


# --- Pick-ups over time -----------------------------------------------------------------------------------------------
def start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()), timezone.get_default_timezone())


def today() -> date:
    return timezone.localdate(timezone=timezone.get_default_timezone())


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
    end = timezone.localtime(timezone.now() - SETTLED, timezone.get_default_timezone()).date()
    rows = [
        UseDay(day=day, product_type=kind, line_id=line, used=n) for day, kind, line, n in _counted(_next_day(), end)
    ]
    return len(UseDay.objects.bulk_create(rows, ignore_conflicts=True))


def used_by_day(since: date) -> list[tuple[date, str, int]]:
    """(day, product type, pick-ups) since that day: whole days from their sums, the others from the usage log."""
    summed = UseDay.objects.filter(day__gte=since).order_by().values_list("day", "product_type").annotate(n=Sum("used"))
    start = max(_next_day() or since, since)
    live = ((day, kind, n) for day, kind, _line, n in _counted(start, today() + timedelta(days=1)))
    return [*summed, *live]


def by_month(counted: Iterable[tuple[date, str, int]]) -> dict[date, int]:
    months: dict[date, int] = defaultdict(int)
    for day, _kind, n in counted:
        months[day.replace(day=1)] += n
    return months
