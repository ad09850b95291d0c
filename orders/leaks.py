"""Signs that codes leaked or are being guessed, each with what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Sum

from accounts.models import User
from cards.choices import TryOutcome
from cards.models import Batch, CardUse, RefusedTry

WINDOW = timedelta(days=30)
WRONG_FROM_MEMBER, WRONG_FROM_ADDRESS = 10, 20
MANY_OF_A_BATCH = 5
# How many rows are looked through, the newest first, so that the cost has a limit whatever is going on.
LATEST_USES = 50_000
LATEST_TRIES = 50_000
SHOWN = 20


@dataclass(frozen=True)
class Guesser:
    """Wrong codes of one member, with the batches of which he did use cards, or of one address, with its members."""

    member: User | None
    address: str | None
    tries: int
    last_at: datetime
    batches: list[Batch]
    members: list[User] = field(default_factory=list)


@dataclass(frozen=True)
class Hoarder:
    member: User
    batch: Batch
    cards: int
    last_at: datetime


def wrong_codes(since: datetime, address: str | None = None) -> Any:
    newest = RefusedTry.objects.order_by("-pk").values_list("pk", flat=True)
    oldest = newest[LATEST_TRIES - 1 : LATEST_TRIES].first() or 0
    tries = RefusedTry.objects.filter(pk__gte=oldest, hour__gte=since, outcome=TryOutcome.UNKNOWN)
    return tries.filter(**({"address": address} if address else {})).order_by()


def tried_by_member(since: datetime, at_least: int = 1, address: str | None = None) -> list[Guesser]:
    """Most tries first; from one address only, if it is given."""
    rows = list(
        wrong_codes(since, address)
        .values("member")
        .annotate(n=Sum("tries"), last=Max("last_at"))
        .filter(n__gte=at_least)
        .order_by("-n")[:SHOWN]
    )
    people = User.objects.in_bulk([row["member"] for row in rows])
    used: dict[int, set[int]] = {}
    latest = CardUse.objects.filter(member__in=people, used_at__gte=since).order_by("-pk")
    for member, batch in latest.values_list("member", "batch")[:2000]:
        used.setdefault(member, set()).add(batch)
    batches = Batch.objects.defer("wrapped_key").in_bulk({pk for each in used.values() for pk in sorted(each)[-3:]})
    return [
        Guesser(
            people[row["member"]],
            None,
            row["n"],
            row["last"],
            [batches[pk] for pk in sorted(used.get(row["member"], ()))[-3:]],
        )
        for row in rows
    ]


def tried_by_address(since: datetime, at_least: int = 1, address: str | None = None) -> list[Guesser]:
    rows = (
        wrong_codes(since, address)
        .exclude(address=None)
        .values("address")
        .annotate(n=Sum("tries"), last=Max("last_at"))
    )
    found = list(rows.filter(n__gte=at_least).order_by("-n")[:SHOWN])
    theirs = wrong_codes(since).filter(address__in=[row["address"] for row in found])
    pairs = list(theirs.values_list("address", "member").annotate(n=Sum("tries")).order_by("-n")[: 3 * SHOWN])
    people = User.objects.in_bulk({member for _address, member, _n in pairs})
    members: dict[str, list[User]] = {}
    for address, member, _n in pairs:
        members.setdefault(address, []).append(people[member])
    return [
        Guesser(None, row["address"], row["n"], row["last"], [], members.get(row["address"], [])[:3]) for row in found
    ]


def many_of_one_batch(since: datetime) -> list[Hoarder]:
    """Members who used many cards of one batch, among the latest pick-ups."""
    latest = CardUse.objects.order_by("-pk").values_list("pk", flat=True)
    oldest = latest[LATEST_USES - 1 : LATEST_USES].first() or 0
    rows = list(
        CardUse.objects.filter(pk__gte=oldest, used_at__gte=since, returned_at=None)
        .order_by()
        .values("member", "batch")
        .annotate(n=Count("pk"), last=Max("used_at"))
        .filter(n__gte=MANY_OF_A_BATCH)
        .order_by("-n")[:SHOWN]
    )
    people = User.objects.in_bulk({row["member"] for row in rows})
    batches = Batch.objects.defer("wrapped_key").in_bulk({row["batch"] for row in rows})
    return [Hoarder(people[row["member"]], batches[row["batch"]], row["n"], row["last"]) for row in rows]


def dead_cards_tried(since: datetime, address: str | None = None) -> list[RefusedTry]:
    """Real cards that were tried though disabled, expired or used by somebody else, latest first."""
    tries = RefusedTry.objects.filter(hour__gte=since).exclude(outcome=TryOutcome.UNKNOWN)
    tries = tries.filter(address=address) if address else tries
    related = tries.select_related("member", "card", "batch").defer(
        "card__sealed", "card__lookup", "batch__wrapped_key"
    )
    return list(related.order_by("-hour", "-pk")[: 2 * SHOWN])
