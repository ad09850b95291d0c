"""What the finance team looks at first: the dashboard, and the report of leaks."""

from __future__ import annotations

from django.http import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from cards.views.access import StaffRequest, staff_view

from . import leaks
from .dashboard import overview


@staff_view("cards.view_batch")
def dashboard(request: StaffRequest) -> HttpResponseBase:
    return render(request, "staff/dashboard.html", overview(timezone.now()))


@staff_view("accounts.view_user")
def leak_report(request: StaffRequest) -> HttpResponseBase:
    since = timezone.now() - leaks.WINDOW
    context = {
        "members": leaks.tried_by_member(since, leaks.WRONG_FROM_MEMBER),
        "addresses": leaks.tried_by_address(since, leaks.WRONG_FROM_ADDRESS),
        "hoarders": leaks.many_of_one_batch(since),
        "dead": leaks.dead_cards_tried(since),
        "limits": leaks,
    }
    return render(request, "staff/leak_report.html", context)
