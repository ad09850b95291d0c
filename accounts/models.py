"""Who: members and staff, what a member's balance is made of, and how often a door was tried."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from .choices import LedgerKind

MEMBER_ID_LENGTH = 64


class User(AbstractUser):
    """A member or a member of staff (`is_staff`)."""

    email = models.EmailField(_("e-mail address"), blank=True)
    external_id = models.CharField(
        _("member ID at the company"), max_length=MEMBER_ID_LENGTH, null=True, blank=True, unique=True
    )
    language = models.CharField(_("language"), max_length=16, blank=True, choices=settings.LANGUAGES)
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)

    objects: ClassVar[UserManager[Self]] = UserManager()

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"
        permissions = [
            ("top_up", "Can top up a member's balance"),
            ("correct_top_up", "Can take back a mistaken top-up"),
            ("disable_member", "Can disable and enable members"),
        ]
        constraints = [
            models.UniqueConstraint(Lower("email"), condition=~models.Q(email=""), name="user_email_unique"),
        ]

    @property
    def member_id(self) -> str:
        """The 会员ID that pages show: the company's own number when there is one."""
        return self.external_id or str(self.pk)


class LedgerEntry(models.Model):
    """One movement of a member's balance; never changed, never deleted.

    `sequence` counts 1..n per member and `balance_after` is the running sum, so that two writers who both read the
    same last entry collide on the unique constraint, and a negative balance on the check.
    """

    member = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ledger")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(_("kind"), max_length=16, choices=LedgerKind)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    balance_after = models.DecimalField(_("balance"), max_digits=12, decimal_places=2)
    reference = models.CharField(_("reference"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    class Meta:
        verbose_name = _("ledger entry")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["member", "sequence"], name="ledger_sequence_unique"),
            models.UniqueConstraint(
                fields=["kind", "reference"], condition=~models.Q(reference=""), name="ledger_once_per_reference"
            ),
            models.CheckConstraint(condition=models.Q(balance_after__gte=0), name="ledger_never_negative"),
            models.CheckConstraint(condition=~models.Q(amount=Decimal(0)), name="ledger_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"

    @property
    def is_orders(self) -> bool:
        """Whether `reference` is an order's number."""
        return self.kind in (LedgerKind.SURCHARGE, LedgerKind.REFUND)


class AttemptCounter(models.Model):
    """How often one door was tried in one window; `accounts.throttle` is its only writer."""

    key = models.CharField(max_length=120, unique=True)
    window_start = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("attempt counter")

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"


class AttemptGate(models.Model):
    """How one person's attempts at codes stand: a round of tries, and after each full round a longer wait."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="attempt_gate")
    tries = models.PositiveSmallIntegerField(default=0)  # wrong ones in this round, and the one being looked up
    rounds = models.PositiveSmallIntegerField(default=0)  # filled one after the other
    last_at = models.DateTimeField(null=True)  # the last wrong one
    open_at = models.DateTimeField(null=True)  # heard again from then on; null: now

    class Meta:
        verbose_name = _("attempt gate")

    def __str__(self) -> str:
        return f"{self.user_id}: {self.tries} tries, {self.rounds} rounds"


class Invitation(models.Model):
    """The right to create one account. The link holds a secret; here stands only its hash."""

    token_hash = models.CharField(max_length=64, unique=True)
    note = models.CharField(_("for whom"), max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    used_at = models.DateTimeField(null=True)
    used_by = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="invitation"
    )

    class Meta:
        verbose_name = _("invitation")
        ordering = ["-id"]
        permissions = [("invite_member", "Can invite members")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(used_at__isnull=True, used_by__isnull=True)
                | models.Q(used_at__isnull=False, used_by__isnull=False),
                name="invitation_used_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"invitation {self.pk}"
