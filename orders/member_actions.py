"""What staff do to members: top up and take back, shut out, let in again, invite another; each with its audit row."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.db import transaction

from accounts import membership
from accounts.actions import balance_of, record_entry, set_active
from accounts.choices import LedgerKind
from accounts.models import Invitation, LedgerEntry, User
from cards import audit
from cards.choices import AuditAction

from .exceptions import AlreadyCorrected, SpentAlready, WrongMember


def top_up(
    *, member: User, amount: Decimal, reason: str, actor: User, token: uuid.UUID, address: str | None = None
) -> LedgerEntry:
    """Add `amount` (positive) to the member's balance; the same `token` returns the entry it made before for him.

    Raises WrongMember for one who cannot hold a balance: staff, or whoever is shut out.
    """
    if amount <= 0:
        raise ValueError("a top-up is positive")
    reference = f"T{uuid.uuid5(token, str(member.pk)).hex[:12].upper()}"  # another member's is another top-up
    with transaction.atomic():
        row = User.objects.select_for_update(no_key=True).get(pk=member.pk)
        made = LedgerEntry.objects.filter(member=row, kind=LedgerKind.TOP_UP, reference=reference).first()
        if made:
            return made
        if row.is_staff or not row.is_active:
            raise WrongMember
        entry = record_entry(
            member=row, kind=LedgerKind.TOP_UP, amount=amount, reference=reference, reason=reason, created_by=actor
        )
        audit.record(
            AuditAction.TOP_UP,
            actor=actor,
            address=address,
            member=row.pk,
            amount=f"{amount:.2f}",
            balance=f"{entry.balance_after:.2f}",
            reference=reference,
            reason=reason,
        )
    return entry


def correction_reference(entry: LedgerEntry) -> str:
    """What the correction of a top-up refers to; the ledger takes it once."""
    return entry.reference or f"E{entry.pk}"


@transaction.atomic
def correct_top_up(
    *, entry: LedgerEntry, amount: Decimal, reason: str, actor: User, address: str | None = None
) -> LedgerEntry:
    """Take `amount` (positive, at most the top-up's) of a mistaken top-up off the balance, by an entry of its own.

    Once for each top-up. Raises AlreadyCorrected, and SpentAlready when the balance does not hold so much any more.
    """
    if entry.kind != LedgerKind.TOP_UP or not 0 < amount <= entry.amount:
        raise ValueError("a correction takes back at most what a top-up gave")
    member = User.objects.select_for_update(no_key=True).get(pk=entry.member_id)
    reference = correction_reference(entry)
    if LedgerEntry.objects.filter(kind=LedgerKind.CORRECTION, reference=reference).exists():
        raise AlreadyCorrected
    if (left := balance_of(member)) < amount:
        raise SpentAlready(left)
    made = record_entry(
        member=member, kind=LedgerKind.CORRECTION, amount=-amount, reference=reference, reason=reason, created_by=actor
    )
    audit.record(
        AuditAction.CORRECT_TOP_UP,
        actor=actor,
        address=address,
        member=member.pk,
        amount=f"{made.amount:.2f}",
        balance=f"{made.balance_after:.2f}",
        reference=reference,
        reason=reason,
    )
    return made


@transaction.atomic
def disable_member(*, member: User, reason: str, actor: User, address: str | None = None) -> None:
    """Shut the member out: he cannot sign in, and what he has open ends with its next request. What he owns runs on.

    Raises WrongMember for staff, and when he is shut out already.
    """
    _switch(member, False, AuditAction.DISABLE_MEMBER, reason, actor, address)


@transaction.atomic
def enable_member(*, member: User, reason: str, actor: User, address: str | None = None) -> None:
    """Undo `disable_member`."""
    _switch(member, True, AuditAction.ENABLE_MEMBER, reason, actor, address)


def _switch(member: User, active: bool, action: AuditAction, reason: str, actor: User, address: str | None) -> None:
    if member.is_staff or not set_active(user=member, active=active):
        raise WrongMember
    audit.record(action, actor=actor, address=address, member=member.pk, reason=reason)


@transaction.atomic
def invite_member(*, actor: User | None, note: str, address: str | None = None) -> tuple[Invitation, str]:
    """(a new invitation, its link); the link is shown once, and whoever opens it first may make one account."""
    invitation, token = membership.create_invitation(actor=actor, note=note)
    audit.record(AuditAction.INVITE_MEMBER, actor=actor, address=address, invitation=invitation.pk, note=note)
    return invitation, membership.invitation_link(token)
