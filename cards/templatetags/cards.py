"""How batches and their cards read on pages."""

from __future__ import annotations

import math
from datetime import timedelta

from django import template
from django.utils.translation import gettext, ngettext

from .. import catalog
from ..choices import ProductType
from ..models import Batch

register = template.Library()


@register.filter
def period(months: int) -> str:
    """A number of months as people say it: "2 years", "18 months"."""
    if months and months % 12 == 0:
        return ngettext("%(n)d year", "%(n)d years", months // 12) % {"n": months // 12}
    return ngettext("%(n)d month", "%(n)d months", months) % {"n": months}


@register.filter
def lasting(time: timedelta) -> str:
    """A short time as people say it: "8 s", "3 min"."""
    seconds = math.ceil(time.total_seconds())
    if seconds < 100:
        return gettext("%(n)d s") % {"n": seconds}
    return gettext("%(n)d min") % {"n": math.ceil(seconds / 60)}


@register.filter
def member_type(product_type: str) -> str:
    """A product type in the members' words."""
    return ProductType(product_type).member_label


@register.filter
def in_short(batch: Batch) -> str:
    """A batch's configuration in one line."""
    return catalog.short(batch.product_type, batch.spec)
