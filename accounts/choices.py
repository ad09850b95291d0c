from django.db import models
from django.utils.translation import gettext_lazy as _


class LedgerKind(models.TextChoices):
    TOP_UP = "top_up", _("Top-up")
    SURCHARGE = "surcharge", _("Windows surcharge")
    REFUND = "refund", _("Refund")
    CORRECTION = "correction", _("Correction of a top-up")
