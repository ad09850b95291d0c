"""What beat throws away, so that no table grows without end."""

from __future__ import annotations

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.db import connection
from django.utils import timezone


def forget_expired_cache_rows() -> int:
    """Delete what is over from the caches that are tables; returns how many rows.

    Django's table does so itself only when it is full, and counts all its rows at every write until then.
    """
    return sum(
        _forget(config["LOCATION"])
        for name, config in settings.CACHES.items()
        if isinstance(caches[name], DatabaseCache)
    )


def _forget(table: str) -> int:
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)} WHERE expires < %s", [now])  # noqa: S608
        return int(cursor.rowcount)
