"""The usage log (提货卡使用记录): who used which card, when, and the order that came of it."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponseBase
from django.shortcuts import render

from accounts.models import User
from accounts.paging import KeysetPage

from ..forms import UsageFilter, id_in
from ..models import CardUse
from .access import StaffRequest, staff_view

USES_A_PAGE = 20


@staff_view("cards.view_carduse")
def usage_log(request: StaffRequest) -> HttpResponseBase:
    form = UsageFilter(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    uses = CardUse.objects.select_related("batch", "card", "member").defer(
        "card__sealed", "card__lookup", "batch__wrapped_key"
    )
    if "type" in chosen:
        uses = uses.filter(batch__product_type=chosen["type"])
    if "q" in chosen:
        uses = uses.filter(_names(str(chosen["q"])))
    page: KeysetPage[Any] = KeysetPage(uses, request, size=USES_A_PAGE)
    return render(request, "staff/usage_log.html", {"form": form, "page": page, "narrowed": bool(chosen)})


def _names(text: str) -> Q:
    """The uses that a text speaks of: a member by ID, user name or address, a batch by ID or number."""
    pk = id_in(text)
    members = Q(username__icontains=text) | Q(external_id=text) | Q(email__iexact=text)
    if pk is not None:
        # Members known by the company's own number are not found under the portal's.
        members |= Q(pk=pk) & (Q(external_id=None) | Q(external_id=""))
    found: QuerySet[User] = User.objects.filter(members)
    named = Q(member__in=found)
    return named if pk is None else named | Q(batch_id=pk)
