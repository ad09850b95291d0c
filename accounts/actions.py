"""Every write to a balance, and to what an account says of its person: preferences, and whether he may come in."""

from __future__ import annotations

from decimal import Decimal

from allauth.usersessions.models import UserSession
from django.db import transaction

from .choices import LedgerKind
from .exceptions import BalanceTooLow
from .models import LedgerEntry, User


def balance_of(member: User) -> Decimal:
    """The member's balance in the portal's currency: the running sum of his newest ledger entry."""
    last = (
        LedgerEntry.objects.filter(member=member).order_by("-sequence").values_list("balance_after", flat=True).first()
    )
    return last if last is not None else Decimal("0.00")


@transaction.atomic
def record_entry(
    *,
    member: User,
    kind: LedgerKind,
    amount: Decimal,
    reference: str = "",
    reason: str = "",
    created_by: User | None = None,
) -> LedgerEntry:
    """Move `amount` (positive: credit) on the member's balance.

    The member's row is locked so that two movements queue up; the ledger's constraints stand behind the lock.
    Raises BalanceTooLow when the balance would become negative.
    """
    User.objects.select_for_update(no_key=True).get(pk=member.pk)
    last = LedgerEntry.objects.filter(member=member).order_by("-sequence").first()
    before, sequence = (last.balance_after, last.sequence) if last else (Decimal(0), 0)
    if before + amount < 0:
        raise BalanceTooLow(-(before + amount))
    return LedgerEntry.objects.create(
        member=member,
        sequence=sequence + 1,
        kind=kind,
        amount=amount,
        balance_after=before + amount,
        reference=reference,
        reason=reason,
        created_by=created_by,
    )


def set_preferences(*, user: User, language: str, time_zone: str) -> None:
    """The language and zone a person wants pages in; empty: as the browser says."""
    user.language, user.time_zone = language, time_zone
    user.save(update_fields=["language", "time_zone"])


@transaction.atomic
def set_active(*, user: User, active: bool) -> bool:
    """Let the person in, or shut him out: his sessions end. False if it was so already.

    They end both ways: one that a sign-in opened just while he was shut out must not come to life with him.
    """
    won = User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active)
    user.is_active = active
    if won:
        for session in UserSession.objects.filter(user=user):
            session.end()
    return bool(won)
