"""What the finance team looks at first: the dashboard, and the report of leaks."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlencode

from django.http import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from cards.statistics import EVERYTHING
from cards.views.access import StaffRequest, staff_view

from . import leaks
from .dashboard import overview
from .staff_forms import ScopeFilter


@staff_view("cards.view_batch")
def dashboard(request: StaffRequest) -> HttpResponseBase:
    form = ScopeFilter(request.GET)
    scope = form.scope()
    asked = urlencode({name: value for name, value in request.GET.items() if name in form.fields and value})
    context = {
        "form": form,
        "narrowed": scope != EVERYTHING,
        "batches_url": f"{reverse('staff:batch-list')}{f'?{asked}' if scope != EVERYTHING else ''}",
    }
    return render(request, "staff/dashboard.html", context | overview(timezone.now(), scope))


@staff_view("accounts.view_user")
def leak_report(request: StaffRequest) -> HttpResponseBase:
    """All of it, or with `?address=` everything that came from one address, however little."""
    since, address = timezone.now() - leaks.WINDOW, _address(request.GET.get("address", ""))
    from_member, from_address = (1, 1) if address else (leaks.WRONG_FROM_MEMBER, leaks.WRONG_FROM_ADDRESS)
    context = {
        "address": address,
        "members": leaks.tried_by_member(since, from_member, address),
        "addresses": leaks.tried_by_address(since, from_address, address),
        "hoarders": [] if address else leaks.many_of_one_batch(since),
        "dead": leaks.dead_cards_tried(since, address),
        "limits": leaks,
    }
    return render(request, "staff/leak_report.html", context)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
