"""Who may open a staff page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.stepup import keep_out_of_reports

from ..code_texts import is_code
from ..models import Card

SEE_LAST4 = "cards.view_last4"


class StaffRequest(HttpRequest):
    """A request that `staff_view` let through."""

    user: User
    htmx: HtmxDetails


def staff_view(permission: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Strangers are sent to sign in; anyone but staff with `permission` gets a 403. Nothing of it is cached."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @never_cache
        @wraps(view)
        def guarded(request: StaffRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                # A fragment must not be replaced by the sign-in page: the whole page is loaded anew instead.
                return HttpResponseClientRefresh() if request.htmx else redirect_to_login(request.get_full_path())
            keep_out_of_reports(request)
            if not (request.user.is_staff and request.user.has_perm(permission)):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def without_codes(
    *, imported: bool = True
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """For lists whose filters stand in the address: one that holds a card code is not searched for but taken out of the
    address, and the person told where cards are found. `imported`: also for what looks as imported codes do."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def guarded(request: StaffRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            query = request.GET.copy()
            for name, values in request.GET.lists():
                if any(is_code(value, imported=imported) for value in values):
                    del query[name]
            if len(query) == len(request.GET):
                return view(request, *args, **kwargs)
            says = _("This is a card code. In a search it would stay in the address, so it was not searched for.")
            link = format_html('<a href="{}">{}</a>', reverse("staff:card-find"), _("Find a card"))
            messages.warning(
                request, format_html("{} {}", says, link if request.user.has_perm("cards.view_card") else "")
            )
            return redirect(f"{request.path}?{query.urlencode()}".removesuffix("?"))

        return guarded

    return decorate


def last4_for(user: User, card: Card | None) -> str:
    """How the lists that leave the portal name a card's code, empty for whoever may not see its last four."""
    return f"…{card.last4}" if card and user.has_perm(SEE_LAST4) else ""
