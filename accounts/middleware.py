"""The reader's own language and time zone; pages that stay his; and staff without a second factor, where one is
required."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone, translation
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRefresh

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


class PrivateMiddleware:
    """What a signed-in person is shown is kept by no cache and no disk, unless the page says otherwise: recovery codes,
    a balance, the last characters of cards. Whoever comes to the machine after him finds nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.user.is_authenticated and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response


class SecondFactorMiddleware:
    """With STAFF_SECOND_FACTOR=required, staff set up a second factor before they see any page of the backend."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not (settings.STAFF_SECOND_FACTOR == "required" and request.path_info.startswith("/staff/")):
            return self.get_response(request)
        if not getattr(request.user, "is_staff", False) or has_second_factor(request.user):
            return self.get_response(request)
        if "HX-Request" in request.headers:
            return HttpResponseClientRefresh()  # the whole page is loaded anew and comes here again
        messages.warning(request, _("Please set up a second factor first: staff pages ask for one here."))
        return redirect("mfa_index")


def has_second_factor(user: Any) -> bool:
    """Recovery codes alone are none."""
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    return bool(Authenticator.objects.filter(user=user, type__in=kinds).exists())


def known_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The IANA zone of that name, or None: the name comes from a browser and may be anything."""
    return zoneinfo.ZoneInfo(name) if name in all_zones() else None


@cache
def all_zones() -> frozenset[str]:
    """Read once per process: it walks the whole zone database, and every request asks."""
    return frozenset(zoneinfo.available_timezones())
