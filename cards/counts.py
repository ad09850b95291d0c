"""Figures kept so that no page has to count a million cards."""

from __future__ import annotations

from django.db import models

from .choices import ProductType

USE_COUNT_SLOTS = 16


class DisabledCount(models.Model):
    """How many cards of a batch are disabled, replaced ones included. Kept by triggers of the cards table, whoever
    writes; in a table of its own, because a redemption holds the batch's row and its use counter."""

    batch = models.OneToOneField(
        "cards.Batch", on_delete=models.CASCADE, primary_key=True, related_name="disabled_count"
    )
    cards = models.IntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(cards__gte=0), name="disabledcount_not_negative")]

    def __str__(self) -> str:
        return f"{self.batch_id}: {self.cards}"


class UseDay(models.Model):
    """How many cards were picked up on a past day of the portal's zone; `cards.statistics` fills it day by day."""

    day = models.DateField()
    product_type = models.CharField(max_length=16, choices=ProductType)
    line = models.ForeignKey("cards.Line", on_delete=models.PROTECT, related_name="+", db_index=False)
    used = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "product_type", "line"], name="useday_unique")]

    def __str__(self) -> str:
        return f"{self.day} {self.product_type}: {self.used}"


class UseCount(models.Model):
    """How many cards of a batch are used, spread over slots so that redemptions of one batch do not queue up."""

    batch = models.ForeignKey("cards.Batch", on_delete=models.CASCADE, related_name="use_counts", db_index=False)
    slot = models.PositiveSmallIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "slot"], name="usecount_slot_unique")]

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.slot}: {self.used}"
