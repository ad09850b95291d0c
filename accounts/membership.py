"""Who may become a member: invitations, and the member ID that the company's own system tells."""

from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from .exceptions import InvitationNotValid
from .models import Invitation, User

TOKEN_BYTES = 24


def create_invitation(*, actor: User | None, note: str = "") -> tuple[Invitation, str]:
    """(the invitation, the secret of its link); the secret is not kept and cannot be shown again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation = Invitation.objects.create(
        token_hash=_hashed(token),
        note=note,
        created_by=actor,
        expires_at=timezone.now() + settings.INVITATION_LIFETIME,
    )
    return invitation, token


def invitation_link(token: str) -> str:
    return f"{settings.SITE_URL}/accounts/invitation/{token}/"


def is_invited(token: str) -> bool:
    """Whether this secret still opens the sign-up."""
    return Invitation.objects.filter(token_hash=_hashed(token), **_unused()).exists()


@transaction.atomic
def accept_invitation(*, token: str, user: User) -> None:
    """Spend the invitation on this new account; called in the transaction that makes it. Raises InvitationNotValid."""
    won = Invitation.objects.filter(token_hash=_hashed(token), **_unused()).update(used_at=timezone.now(), used_by=user)
    if not won:
        raise InvitationNotValid


def _unused() -> dict[str, object]:
    return {"used_at__isnull": True, "expires_at__gt": timezone.now()}


def _hashed(token: str) -> str:
    """The secret has 192 bits: a plain hash cannot be searched."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def member_of_company(external_id: str) -> User | None:
    """The member with this ID at the company. Staff are never found this way."""
    return User.objects.filter(external_id=external_id, is_staff=False).first() if external_id else None


def keep_external_id(*, user: User, external_id: str) -> bool:
    """Note the company's ID of a member that has none yet, unless it is somebody else's; False if nothing changed."""
    if not external_id or User.objects.filter(external_id=external_id).exists():
        return False
    won = User.objects.filter(pk=user.pk, external_id__isnull=True).update(external_id=external_id)
    if won:
        user.external_id = external_id
    return bool(won)
