"""Batches, and the secrets that prove they were paid (cards).

The other tables of this app stand beside: `lines` (what is sold where), `trail` (what was done), `counts`. This module
offers all of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .choices import (
    BatchShown,
    BatchStatus,
    CardStatus,
    ProductType,
    ValidityKind,
    WindowsPolicy,
)
from .counts import USE_COUNT_SLOTS as USE_COUNT_SLOTS
from .counts import DisabledCount as DisabledCount
from .counts import UseCount as UseCount
from .counts import UseDay as UseDay
from .days import day_of
from .lines import Image as Image
from .lines import Line as Line
from .lines import OperatingSystem as OperatingSystem
from .lines import ServerModel as ServerModel
from .trail import AuditCheck as AuditCheck
from .trail import AuditEvent as AuditEvent
from .trail import AuditHead as AuditHead
from .trail import AuditSeal as AuditSeal
from .trail import CardUse as CardUse
from .trail import RefusedTry as RefusedTry

OWN_CODE_BITS = 120  # a code of ours: 24 random symbols of 32
FEWEST_CODE_BITS = 40  # imported codes with less are refused
GUESSABLE_BELOW_BITS = 80


class BatchQuerySet(models.QuerySet["Batch"]):
    def with_used(self) -> Self:
        """Annotate `used_cards`, summed from the batch's counter slots."""
        slots = UseCount.objects.filter(batch=models.OuterRef("pk")).order_by().values("batch").annotate(n=Sum("used"))
        return self.annotate(used_cards=Coalesce(models.Subquery(slots.values("n")), 0))

    def shown_as(self, shown: str) -> Self:
        """The batches that show this status now. Needs `with_used` for the last three."""
        ready = Q(issued__gt=0)
        enabled, live = Q(disabled_at__isnull=True), Q(expires_at__gt=timezone.now())
        full = Q(used_cards__gte=F("quantity") - F("replaced"))
        rules = {
            BatchShown.WAITING: ~ready & Q(status=BatchStatus.WAITING),
            BatchShown.GENERATING: ~ready & Q(status=BatchStatus.GENERATING),
            BatchShown.CANCELLED: Q(status=BatchStatus.CANCELLED),
            BatchShown.DISABLED: ready & ~enabled,
            BatchShown.EXPIRED: ready & enabled & ~full & ~live,
            BatchShown.USED_UP: ready & enabled & full,
            BatchShown.NORMAL: ready & enabled & live & ~full,
        }
        return self.filter(rules[BatchShown(shown)])


class Batch(models.Model):
    """Cards made together for one product configuration, frozen once created.

    The serials 1..`generated` exist. The serials 1..`issued` may be handed out and picked up: a batch is issued when it
    is whole, and cards added later when they are whole, while those before them stay good. Of the `quantity`,
    `replaced` cards are void, each with its replacement among the rest. What was asked for above the limits
    (`needs_approval`, see cards.approval) is WAITING until another person than `created_by` and `asked_by` approves:
    no card of it is made before. `code_bits` says how hard a code is to guess.
    """

    product_type = models.CharField(_("business type"), max_length=16, choices=ProductType)
    name = models.CharField(_("card name"), max_length=100)
    line = models.ForeignKey(Line, verbose_name=_("line"), on_delete=models.PROTECT, related_name="batches")
    spec = models.JSONField(_("configuration"))
    term_months = models.PositiveSmallIntegerField(_("term"))
    reference_price = models.DecimalField(_("reference price"), max_digits=12, decimal_places=2)
    currency = models.CharField(_("currency"), max_length=3)
    quantity = models.PositiveIntegerField(_("quantity"))
    validity_kind = models.CharField(_("validity"), max_length=8, choices=ValidityKind)
    validity_months = models.PositiveSmallIntegerField(_("validity in months"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"))
    windows_policy = models.CharField(_("Windows"), max_length=16, choices=WindowsPolicy)
    windows_surcharge = models.DecimalField(_("Windows surcharge"), max_digits=12, decimal_places=2, default=Decimal(0))
    status = models.CharField(_("status"), max_length=16, choices=BatchStatus, default=BatchStatus.GENERATING)
    disabled_at = models.DateTimeField(_("disabled at"), null=True, blank=True)
    generated = models.PositiveIntegerField(_("generated"), default=0)
    issued = models.PositiveIntegerField(default=0, editable=False)
    replaced = models.PositiveIntegerField(default=0, editable=False)
    code_bits = models.PositiveSmallIntegerField(default=OWN_CODE_BITS, editable=False)
    progress_at = models.DateTimeField(_("last progress"), default=timezone.now)
    generation_started_at = models.DateTimeField(null=True, editable=False)  # of what is not issued yet
    wrapped_key = models.BinaryField(editable=False)
    key_id = models.CharField(max_length=64, editable=False)
    request_token = models.UUIDField(unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("created by"), on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    needs_approval = models.BooleanField(default=False, editable=False)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, editable=False)
    note = models.CharField(_("note"), max_length=500, blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        ordering = ["-id"]
        permissions = [
            ("download_batch", "Can download the codes of a batch"),
            ("disable_batch", "Can disable and enable batches and cards"),
            ("extend_batch", "Can extend the validity of a batch"),
            ("cancel_batch", "Can stop the generating of a batch"),
            ("approve_batch", "Can approve what a colleague asked for above the set limit"),
        ]
        indexes = [
            models.Index(fields=["progress_at"], condition=Q(status=BatchStatus.GENERATING), name="batch_generating"),
            models.Index(fields=["expires_at", "id"], name="batch_expires"),
            models.Index(fields=["created_at"], name="batch_created"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gte=1), name="batch_has_cards"),
            models.CheckConstraint(condition=Q(generated__lte=F("quantity")), name="batch_watermark"),
            models.CheckConstraint(
                condition=~Q(status=BatchStatus.READY) | Q(generated=F("quantity"), issued=F("quantity")),
                name="batch_ready_is_whole",
            ),
            models.CheckConstraint(condition=Q(issued__lte=F("generated")), name="batch_issued"),
            models.CheckConstraint(condition=Q(replaced__lt=F("quantity")), name="batch_replaced"),
            models.CheckConstraint(condition=Q(code_bits__gte=FEWEST_CODE_BITS), name="batch_code_bits"),
            models.CheckConstraint(condition=Q(status__in=BatchStatus.values), name="batch_status_known"),
            models.CheckConstraint(
                condition=~Q(status=BatchStatus.CANCELLED) | Q(issued=0), name="batch_cancelled_never_issued"
            ),
            models.CheckConstraint(
                condition=Q(needs_approval=False)
                | Q(status__in=[BatchStatus.WAITING, BatchStatus.CANCELLED])
                | Q(approved_by__isnull=False),
                name="batch_approved_before_made",
            ),
            models.CheckConstraint(
                condition=~Q(status=BatchStatus.WAITING) | Q(needs_approval=True, generated=F("issued")),
                name="batch_waiting_makes_nothing",
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True, approved_at__isnull=True)
                | Q(approved_by__isnull=False, approved_at__isnull=False),
                name="batch_approved_when",
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True)
                | (
                    (Q(created_by__isnull=True) | ~Q(approved_by=F("created_by")))
                    & (Q(asked_by__isnull=True) | ~Q(approved_by=F("asked_by")))
                ),
                name="batch_approved_by_another",
            ),
            models.CheckConstraint(condition=Q(reference_price__gte=0), name="batch_price"),
            models.CheckConstraint(condition=Q(windows_surcharge__gte=0), name="batch_surcharge"),
            models.CheckConstraint(
                condition=Q(validity_kind=ValidityKind.DATE, validity_months__isnull=True)
                | Q(validity_kind=ValidityKind.PERIOD, validity_months__isnull=False, validity_months__gte=1),
                name="batch_validity",
            ),
        ]

    used_cards: int  # annotated by with_used

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def number(self) -> str:
        """The 批次 that people quote: day of creation and ID, such as P20261123-78."""
        return f"P{day_of(self.created_at):%Y%m%d}-{self.pk}"

    @property
    def last_day(self) -> datetime:
        """An instant within the last valid day, in the portal's zone; `expires_at` is the start of the day after."""
        return timezone.localtime(self.expires_at - timedelta(seconds=1), timezone.get_default_timezone())

    @property
    def total(self) -> int:
        """全部: the cards that can be or were picked up. A card that was replaced is not one of them."""
        return self.quantity - self.replaced

    @property
    def guessable(self) -> bool:
        """Whether its codes are so short that knowing one proves nothing: a refusal then says nothing either."""
        return self.code_bits < GUESSABLE_BELOW_BITS

    @property
    def shown(self) -> BatchShown:
        """使用状态; needs `with_used`."""
        if self.status == BatchStatus.CANCELLED:
            return BatchShown.CANCELLED
        if not self.issued:
            return BatchShown.WAITING if self.status == BatchStatus.WAITING else BatchShown.GENERATING
        if self.disabled_at:
            return BatchShown.DISABLED
        if self.used_cards >= self.total:
            return BatchShown.USED_UP
        if self.expires_at <= timezone.now():
            return BatchShown.EXPIRED
        return BatchShown.NORMAL


class CardQuerySet(models.QuerySet["Card"]):
    def redeemable(self) -> Self:
        return self.filter(
            status=CardStatus.UNUSED,
            serial__lte=F("batch__issued"),
            batch__disabled_at__isnull=True,
            batch__expires_at__gt=timezone.now(),
        )


class Card(models.Model):
    """One card. No index stands on a column that a redemption changes, so that using a card rewrites no index."""

    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="cards", db_index=False)
    serial = models.PositiveIntegerField(_("serial"))
    lookup = models.BinaryField(max_length=32)
    sealed = models.BinaryField(null=True)
    last4 = models.CharField(max_length=4)
    status = models.CharField(_("status"), max_length=8, choices=CardStatus, default=CardStatus.UNUSED)
    used_at = models.DateTimeField(_("picked up at"), null=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )

    objects = CardQuerySet.as_manager()

    class Meta:
        verbose_name = _("pickup card")
        verbose_name_plural = _("pickup cards")
        permissions = [
            ("reveal_card", "Can see a card's code in full"),
            ("view_last4", "Can see the last four characters of a card's code"),
            ("replace_card", "Can replace a card by a new code"),
        ]
        indexes = [models.Index(fields=["last4"], name="card_last4")]
        constraints = [
            models.UniqueConstraint(fields=["batch", "serial"], name="card_serial_unique"),
            models.UniqueConstraint(fields=["lookup"], name="card_lookup_unique"),
            models.CheckConstraint(
                condition=Q(status=CardStatus.USED, used_at__isnull=False, used_by__isnull=False, sealed__isnull=True)
                | (~Q(status=CardStatus.USED) & Q(used_at__isnull=True, used_by__isnull=True)),
                name="card_used_ties",
            ),
            models.CheckConstraint(condition=Q(status__in=CardStatus.values), name="card_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.serial}"


class Replacement(models.Model):
    """A lost or leaked card and the new card that stands for it. The old one stays disabled for ever (a trigger)."""

    old = models.OneToOneField(Card, on_delete=models.PROTECT, related_name="replaced_by")
    new = models.OneToOneField(Card, on_delete=models.PROTECT, related_name="replaces")
    at = models.DateTimeField(_("time"), default=timezone.now)

    class Meta:
        verbose_name = _("replacement")
        verbose_name_plural = _("replacements")
        constraints = [models.CheckConstraint(condition=~Q(old=F("new")), name="replacement_is_another_card")]

    def __str__(self) -> str:
        return f"{self.old_id} → {self.new_id}"


class CodeForm(models.Model):
    """A length and a set of characters that imported codes have, in normal form: what is worth looking up at all."""

    length = models.PositiveSmallIntegerField()
    symbols = models.CharField(max_length=128)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["length", "symbols"], name="codeform_unique")]

    def __str__(self) -> str:
        return f"{self.length} × {self.symbols}"
