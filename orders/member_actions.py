"""What staff do to members: top up, shut out, let in again, invite another; each with its audit row."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.db import transaction

from accounts import membership
from accounts.actions import record_entry, set_active
from accounts.choices import LedgerKind
from accounts.models import Invitation, LedgerEntry, User
from cards import audit
from cards.choices import AuditAction

from .exceptions import WrongMember


def top_up(
    *, member: User, amount: Decimal, reason: str, actor: User, token: uuid.UUID, address: str | None = None
) -> LedgerEntry:
    """Add `amount` (positive) to the member's balance; the same `token` returns the entry it made before.

    Raises WrongMember for one who cannot hold a balance: staff, or whoever is shut out.
    """
    if amount <= 0:
        raise ValueError("a top-up is positive")
    reference = f"T{token.hex[:12].upper()}"
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
