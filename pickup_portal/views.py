"""The first page: what this place is for a stranger, the member's own start otherwise."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.template.loader import render_to_string

from orders.forms import CodeForm
from orders.models import Order

RECENT = 5


def home(request: HttpRequest) -> HttpResponse:
    if settings.PORTAL_SURFACE == "staff":
        return redirect("staff:home")
    if not request.user.is_authenticated:
        return render(request, "home.html")
    recent = Order.objects.filter(member=request.user).order_by("-id")[:RECENT]
    return render(request, "home_member.html", {"orders": recent, "form": CodeForm()})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's own reads the form again for its token, and fails a second time on a body that cannot be read."""
    return HttpResponseBadRequest(render_to_string("400.html"))
