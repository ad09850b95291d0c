"""Signing in again when the session ended between a page and its button."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh


def signed_in_or_back_to(page: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """For a view that answers to POST alone: after sign-in comes `page`, where the button stands; not this view."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapped(request: HttpRequest, number: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.user.is_authenticated:
                return view(request, number, *args, **kwargs)
            if getattr(request, "htmx", False):
                return HttpResponseClientRefresh()  # not the sign-in page in place of the fragment
            return redirect_to_login(reverse(page, args=[number]))

        return wrapped

    return decorate
