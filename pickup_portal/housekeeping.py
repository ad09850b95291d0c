"""What beat throws away, so that no table grows without end."""

from __future__ import annotations

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts import throttle


def forget_expired() -> int:
    """Delete all that is over; returns how many rows."""
    return forget_expired_cache_rows() + forget_expired_sessions() + throttle.forget_old()


def forget_expired_sessions() -> int:
    """Delete sign-ins that are over, and what allauth noted of them; returns how many rows."""
    now = timezone.now()
    over, _models = Session.objects.filter(expire_date__lt=now).delete()
    its_session = Session.objects.filter(session_key=OuterRef("session_key"))
    notes = UserSession.objects.filter(~Exists(its_session), created_at__lt=now - timedelta(days=1))
    return int(over + notes.delete()[0])


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
