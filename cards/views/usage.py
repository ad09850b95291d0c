"""The usage log (提货卡使用记录): who used which card, when, and the order that came of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.paging import KeysetPage
from accounts.search import keys_of_members

from ..forms import UsageFilter, id_in
from ..list_pages import Sorting, csv_of, in_days, moment, timed
from ..models import CardUse
from .access import StaffRequest, last4_for, staff_view, without_codes

SORTS = {"id": "pk", "picked": "used_at"}  # the columns that have an index for it
USES_A_PAGE = 20


@staff_view("cards.view_carduse")
@without_codes()
def usage_log(request: StaffRequest) -> HttpResponseBase:
    form = UsageFilter(request.GET)
    chosen = form.chosen()
    sorting = Sorting(request, SORTS)
    page: KeysetPage[Any] = KeysetPage(
        _filtered(chosen), request, size=USES_A_PAGE, column=sorting.column, ascending=sorting.ascending
    )
    context = {
        "form": form,
        "page": page,
        "narrowed": bool(chosen),
        "sorting": sorting,
        "headings": sorting.headings(),
        "csv_url": reverse("staff:usage-csv"),
    }
    return render(request, "staff/usage_log.html", context)


@staff_view("cards.view_carduse")
@require_POST
def usage_csv(request: StaffRequest) -> HttpResponseBase:
    """The log as it is filtered; of a card its last four characters, for whoever may see them."""
    columns = (
        *(_("ID"), _("Batch"), _("Card"), _("Member ID"), _("Type"), _("Card name")),
        *(timed(_("Picked up at")), timed(_("Returned")), _("Pickup order")),
    )
    uses = _filtered(UsageFilter(request.GET).chosen())
    cells = partial(_cells, request.user)
    return csv_of(request, uses, name="usage", columns=columns, cells=cells, actor=request.user)


def _cells(reader: User, use: CardUse) -> list[object]:
    return [
        *(use.pk, use.batch.number, last4_for(reader, use.card), use.member.member_id),
        use.batch.get_product_type_display(),
        *(use.batch.name, moment(use.used_at), moment(use.returned_at), use.order_number),
    ]


def _filtered(chosen: dict[str, Any]) -> QuerySet[CardUse]:
    uses = CardUse.objects.select_related("batch", "card", "member").defer(
        "card__sealed", "card__lookup", "batch__wrapped_key"
    )
    if "type" in chosen:
        uses = uses.filter(batch__product_type=chosen["type"])
    if "line" in chosen:
        uses = uses.filter(batch__line=chosen["line"])
    if "q" in chosen:
        uses = uses.filter(_names(str(chosen["q"])))
    narrowed: QuerySet[CardUse] = in_days(uses, "used_at", chosen)
    return narrowed


def _names(text: str) -> Q:
    """The uses that a text speaks of: a member by ID, user name or address, a batch by ID or number."""
    pk = id_in(text)
    named = Q(member__in=keys_of_members(text))
    return named if pk is None else named | Q(batch_id=pk)
