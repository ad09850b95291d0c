"""How long to wait before the next attempt."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts: doubling, capped."""
    base: timedelta = settings.ORDER_BACKOFF_BASE
    cap: timedelta = settings.ORDER_BACKOFF_CAP
    return min(base * (1 << min(max(attempts - 1, 0), 20)), cap)
