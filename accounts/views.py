from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.http import require_GET

from . import actions
from .forms import ProfileForm
from .models import LedgerEntry, User
from .paging import KeysetPage


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
