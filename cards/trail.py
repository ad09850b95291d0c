"""What was done and tried: the audit trail, the chain that seals it, the usage log, and the tries that were refused.

`cards.models` offers these classes too; `cards.audit`, `cards.chain`, `cards.attempts` and the use and return of a card
in `cards.actions` are their only writers.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .choices import AuditAction, TryOutcome


class AuditEvent(models.Model):
    """Append-only: who did what to which batch or card, from where. `detail` holds counts and reasons, never a code.

    `mark` is the event's own keyed hash, made with it: who can write to the table cannot invent or change an event.
    """

    action = models.CharField(_("action"), max_length=32, choices=AuditAction)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    batch = models.ForeignKey(
        "cards.Batch", on_delete=models.PROTECT, null=True, related_name="audit_events", db_index=False
    )
    card = models.ForeignKey("cards.Card", on_delete=models.PROTECT, null=True, related_name="audit_events")
    detail = models.JSONField(_("details"), default=dict)
    address = models.GenericIPAddressField(_("address"), null=True)
    at = models.DateTimeField(_("time"), default=timezone.now)
    mark = models.BinaryField(max_length=40)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit trail")
        ordering = ["-id"]
        permissions = [("view_audit_trail", "Can read the audit trail")]
        indexes = [
            models.Index(fields=["actor", "id"], name="audit_actor"),
            models.Index(fields=["batch", "id"], name="audit_batch"),
            models.Index(fields=["action", "id"], name="audit_action"),
            models.Index(fields=["at"], name="audit_at"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.at:%F %T}"


class AuditSeal(models.Model):
    """A link of the chain: the keyed hash over the link before, the position and the event. Append-only."""

    position = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="seal")
    seal = models.BinaryField(max_length=32)
    key_id = models.CharField(max_length=64)
    sealed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("audit seal")
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.position}: {self.event_id}"


class AuditHead(models.Model):
    """One row: where the chain ends, under a keyed hash of its own, so that an end cut off is missed.

    `horizon`: below this event every one was sealed when it was last looked at; the sealer starts there.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.PositiveBigIntegerField(default=0)
    seal = models.BinaryField(max_length=32)
    key_id = models.CharField(max_length=64, blank=True)
    mark = models.BinaryField(max_length=32)
    horizon = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="audit_head_is_one")]

    def __str__(self) -> str:
        return f"{self.position}: {bytes(self.seal).hex()}"


class AuditCheck(models.Model):
    """One row: how far the chain was verified, and when it last held from its first link to its last."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.PositiveBigIntegerField(default=0)
    seal = models.BinaryField(max_length=32, default=b"")
    checked_at = models.DateTimeField(null=True)
    began_at = models.DateTimeField(null=True)
    whole_at = models.DateTimeField(null=True)
    breaks = models.JSONField(default=list)
    broken_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="audit_check_is_one")]

    def __str__(self) -> str:
        return f"{self.position} at {self.checked_at}"


class RefusedTry(models.Model):
    """Codes that one member tried from one address within one hour, and what they met. Never a code."""

    hour = models.DateTimeField()
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="refused_tries", db_index=False
    )
    address = models.GenericIPAddressField(_("address"), null=True)
    outcome = models.CharField(max_length=8, choices=TryOutcome)
    card = models.ForeignKey("cards.Card", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    batch = models.ForeignKey("cards.Batch", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    tries = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("refused try")
        indexes = [
            models.Index(fields=["hour", "outcome"], name="refusedtry_hour"),
            models.Index(fields=["member", "hour"], name="refusedtry_member"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome=TryOutcome.UNKNOWN, card__isnull=True, batch__isnull=True)
                | (~Q(outcome=TryOutcome.UNKNOWN) & Q(card__isnull=False, batch__isnull=False)),
                name="refusedtry_names_its_card",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member_id}: {self.tries} × {self.outcome}"


class CardUse(models.Model):
    """A line of the usage log (提货卡使用记录): who used which card, when, and the order that came of it."""

    card = models.ForeignKey("cards.Card", on_delete=models.PROTECT, related_name="uses")
    batch = models.ForeignKey("cards.Batch", on_delete=models.PROTECT, related_name="uses", db_index=False)
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="card_uses", db_index=False
    )
    order_number = models.CharField(_("pickup order"), max_length=20, unique=True)
    used_at = models.DateTimeField(_("picked up at"))
    returned_at = models.DateTimeField(_("returned"), null=True)

    class Meta:
        verbose_name = _("use of a card")
        verbose_name_plural = _("usage log")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["batch", "id"], name="carduse_batch"),
            models.Index(fields=["member", "id"], name="carduse_member"),
            models.Index(fields=["used_at"], name="carduse_used_at"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["card"], condition=Q(returned_at__isnull=True), name="carduse_one_open"),
        ]

    def __str__(self) -> str:
        return self.order_number
