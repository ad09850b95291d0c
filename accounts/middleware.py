"""The reader's own language and time zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

TIME_ZONE_COOKIE = "portal_time_zone"


class PreferencesMiddleware:
    """Activate the signed-in user's language and zone, else the browser's (zone from a cookie set by portal.js)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        language = getattr(user, "language", "")
        if language and settings.LANGUAGE_COOKIE_NAME not in request.COOKIES:
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        name = getattr(user, "time_zone", "") or request.COOKIES.get(TIME_ZONE_COOKIE, "")
        timezone.activate(known_zone(name) or timezone.get_default_timezone())
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()


def known_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The IANA zone of that name, or None: the name comes from a browser and may be anything."""
    return zoneinfo.ZoneInfo(name) if name in all_zones() else None


@cache
def all_zones() -> frozenset[str]:
    """Read once per process: it walks the whole zone database, and every request asks."""
    return frozenset(zoneinfo.available_timezones())
