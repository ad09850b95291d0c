"""Whose an e-mail address is. Whoever signs up may name any address; it is his once he has confirmed it.

An address without a record of allauth's (`EmailAddress`) was entered by staff or by a command, and counts as confirmed.
Decision 043 has the attacks that these rules stop.
"""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from .models import User


def unconfirmed_address(user: User) -> EmailAddress | None:
    """The person's own address, if nobody has confirmed it."""
    own = EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=False)
    return own.first() if user.email else None


def address_is_taken(email: str) -> bool:
    """Whether it is somebody's here. Named but not confirmed is not enough, except for staff: people made those."""
    claims = EmailAddress.objects.filter(email__iexact=email)
    if claims.filter(verified=True).exists():
        return True
    named = User.objects.filter(email__iexact=email)
    return bool(named.filter(Q(is_staff=True) | ~Q(pk__in=claims.values("user"))).exists())


@transaction.atomic
def free_address(*, email: str) -> bool:
    """Take an address that is not `address_is_taken` from the accounts that only named it; False if none did."""
    claims = list(EmailAddress.objects.filter(email__iexact=email, verified=False).select_related("user"))
    for claim in claims:
        claim.remove()
    return bool(claims)


@transaction.atomic
def free_spare_address(email: str) -> bool:
    """Take an address from members who named it beside one that they confirmed: they keep that one, and whoever signs
    up with the other is not kept out. False if there were none."""
    spare = EmailAddress.objects.filter(email__iexact=email, verified=False, user__is_staff=False)
    confirmed = EmailAddress.objects.filter(user=OuterRef("user"), verified=True)
    claims = list(spare.filter(Exists(confirmed)).select_related("user"))
    for claim in claims:
        claim.remove()
    return bool(claims)


def may_reset_password(user: User, email: str) -> bool:
    """Whether a mail to this address may set the person's password: one that he confirmed, or, where he confirmed
    none, his own."""
    confirmed = EmailAddress.objects.filter(user=user, verified=True)
    if confirmed.exists():
        return bool(confirmed.filter(email__iexact=email).exists())
    own: str = user.email
    return own.lower() == email.lower()


@transaction.atomic
def take_possession(*, user: User) -> bool:
    """The password was set through a mail. If nobody had confirmed the address, its owner is here for the first time:
    it is confirmed now, and what a stranger may have tied to the account goes. False if there was nothing to do.

    Sessions end with the old password. Staff keep their second factor: a mailbox alone must not be enough for theirs.
    """
    own = unconfirmed_address(user)
    if own is None or EmailAddress.objects.filter(user=user, verified=True).exists() or not own.set_verified():
        return False
    EmailAddress.objects.filter(user=user).exclude(pk=own.pk).delete()
    own.set_as_primary()
    if SocialAccount.objects.filter(user=user).delete()[0]:
        user.external_id = None  # came with them; the company's sign-in would find the account by it again
        user.save(update_fields=["external_id"])
    if not user.is_staff:
        Authenticator.objects.filter(user=user).delete()
    return True
