"""How long an order usually takes, from those that were opened lately."""

from __future__ import annotations

from datetime import timedelta
from statistics import median

from django.core.cache import cache
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cards.choices import ProductType

from .choices import OrderState
from .models import Order

RECENT = 50  # orders looked at
FEWEST = 5  # below that the usual time is told
KEPT_SECONDS = 300
USUAL = {
    ProductType.CLOUD_SERVER: timedelta(minutes=2),
    ProductType.VIRTUAL_HOST: timedelta(minutes=1),
    ProductType.BARE_METAL: timedelta(minutes=30),
}


def expected_time(product_type: str) -> timedelta:
    """The median time from redemption to open product; computed at most every few minutes."""
    seconds = cache.get_or_set(f"expected-{product_type}", lambda: _median_seconds(product_type), KEPT_SECONDS)
    return timedelta(seconds=seconds) if seconds else USUAL[ProductType(product_type)]


def _median_seconds(product_type: str) -> float:
    opened = Order.objects.filter(state=OrderState.ACTIVE, product_type=product_type, opened_at__isnull=False)
    times = list(opened.order_by("-pk").values_list("created_at", "opened_at")[:RECENT])
    if len(times) < FEWEST:
        return 0.0
    return median((end - start).total_seconds() for start, end in times if end)


def in_words(time: timedelta) -> str:
    """As people say it: rounded up, never in seconds."""
    minutes = max(1, -(-round(time.total_seconds()) // 60))
    if minutes < 2:
        return _("It usually opens within a minute.")
    if minutes <= 90:
        return ngettext("It usually opens within %(n)d minute.", "It usually opens within %(n)d minutes.", minutes) % {
            "n": minutes
        }
    hours = -(-minutes // 60)
    return ngettext("It usually opens within %(n)d hour.", "It usually opens within %(n)d hours.", hours) % {"n": hours}
