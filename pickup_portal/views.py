"""The first page: what this place is for a stranger, the member's own start otherwise."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

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
