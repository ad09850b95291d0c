from __future__ import annotations

import logging

from allauth.socialaccount.providers.openid_connect.views import callback as openid_connect_callback
from allauth.socialaccount.providers.openid_connect.views import login as openid_connect_login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from requests import RequestException

from . import actions
from .adapter import INVITATION
from .exceptions import MemberIdUnfit
from .forms import ProfileForm
from .membership import is_invited
from .models import LedgerEntry, User
from .paging import KeysetPage

logger = logging.getLogger(__name__)


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # noqa: S101  (for the type checker: login_required saw to it)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method != "POST" or not form.is_valid():
        return render(request, "account/profile.html", {"form": form})
    actions.set_preferences(user=user, **form.cleaned_data)
    with override(user.language or request.LANGUAGE_CODE):
        messages.success(request, _("Saved."))
    answer = redirect("profile")
    # A language chosen earlier by the switch would outrank the account's.
    name = settings.LANGUAGE_COOKIE_NAME
    if user.language:
        answer.set_cookie(name, user.language, samesite="Lax", secure=settings.LANGUAGE_COOKIE_SECURE)
    else:
        answer.delete_cookie(name, samesite="Lax")
    return answer


@login_required
@require_GET
def ledger(request: HttpRequest) -> HttpResponse:
    """The member's balance and every movement of it, newest first."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101
    page = KeysetPage(LedgerEntry.objects.filter(member=user), request)
    return render(request, "account/ledger.html", {"page": page, "balance": actions.balance_of(user)})


@never_cache
@require_GET
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """An invitation's link: the secret leaves the address for the session, and is spent when the account is made."""
    if settings.SIGN_UP != "invitation" or not is_invited(token):
        return render(request, "account/signup_closed.html", status=410)
    request.session[INVITATION] = token
    return redirect("account_signup")


def no_passwords(request: HttpRequest, **kwargs: str) -> HttpResponse:
    """Where nobody has a password here, its pages do not exist."""
    raise Http404


def company_sign_in(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """allauth's start of the company's sign-in, with a word for the time when its server does not answer."""
    try:
        response: HttpResponseBase = openid_connect_login(request, provider_id)
    except (RequestException, ValueError, KeyError):  # no answer, or none that is its configuration
        logger.exception("the company's sign-in cannot be reached")
        messages.error(request, _("The company's sign-in does not answer at the moment. Please try again later."))
        return redirect("account_login")
    return response


def company_sign_in_callback(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Where the company's sign-in sends people back to, with a word for those whose ID there cannot be kept.

    One longer than allauth's column is raised by allauth as a mistake in the settings.
    """
    try:
        response: HttpResponseBase = openid_connect_callback(request, provider_id)
    except ImproperlyConfigured:
        logger.exception("the company's sign-in named somebody by an ID that is too long")
        messages.error(request, str(MemberIdUnfit()))
        return redirect("account_login")
    return response
