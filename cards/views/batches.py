"""The list of batches and the page of one batch (提货卡管理, 详情)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRefresh

from accounts.models import User
from accounts.paging import KeysetPage

from .. import catalog
from ..audit import last_download
from ..choices import BatchShown, BatchStatus, CardStatus
from ..forms import BatchFilter, CardFilter, id_in
from ..generation import pace_of
from ..list_pages import Sorting, csv_of, in_days, moment, timed
from ..models import Batch, BatchQuerySet, Card
from ..statistics import left_of
from .access import StaffRequest, staff_view, without_codes
from .finding import rows_of

SORTS = {"id": "pk", "expires": "expires_at"}  # the columns that have an index for it
BATCHES_A_PAGE = 20
CARDS_A_PAGE = 50


@staff_view("cards.view_batch")
def home(request: StaffRequest) -> HttpResponseBase:
    return redirect("staff:batch-list")


@staff_view("cards.view_batch")
@without_codes()
def batch_list(request: StaffRequest) -> HttpResponseBase:
    form = BatchFilter(request.GET)
    chosen = form.chosen()
    sorting = Sorting(request, SORTS)
    context = {
        "form": form,
        "page": KeysetPage(
            _filtered(chosen), request, size=BATCHES_A_PAGE, column=sorting.column, ascending=sorting.ascending
        ),
        "sorting": sorting,
        "headings": sorting.headings(),
        "narrowed": bool(chosen),
        "csv_url": reverse("staff:batch-csv"),
    }
    return render(request, "staff/batch_list.html", context)


@staff_view("cards.view_batch")
@require_POST
def batch_csv(request: StaffRequest) -> HttpResponseBase:
    """The list as it is filtered. No code is in it."""
    batches = _filtered(BatchFilter(request.GET).chosen()).select_related("line", "created_by").defer("wrapped_key")
    columns = (
        *(_("ID"), _("Batch"), _("Business type"), _("Card name"), _("Line"), _("Reference price"), _("Currency")),
        *(_("Used"), _("Total"), _("Valid until"), _("Status"), _("Created by"), timed(_("Created"))),
    )
    return csv_of(request, batches, name="batches", columns=columns, cells=_cells, actor=request.user)


def _cells(batch: Batch) -> list[object]:
    return [
        *(batch.pk, batch.number, batch.get_product_type_display(), batch.name, batch.line.name),
        *(batch.reference_price, batch.currency, batch.used_cards, batch.total, f"{batch.last_day:%Y-%m-%d}"),
        *(str(batch.shown.label), batch.created_by.get_username() if batch.created_by else ""),
        moment(batch.created_at),
    ]


def _filtered(chosen: dict[str, Any]) -> BatchQuerySet:
    batches = Batch.objects.with_used().select_related("line")
    if "type" in chosen:
        batches = batches.filter(product_type=chosen["type"])
    if "line" in chosen:
        batches = batches.filter(line=chosen["line"])
    if "status" in chosen:
        batches = batches.shown_as(chosen["status"])
    if "validity" in chosen:
        batches = batches.filter(_validity(chosen["validity"]))
    if "creator" in chosen:
        batches = batches.filter(created_by__in=User.objects.filter(username__iexact=chosen["creator"]))
    if "q" in chosen:
        text = chosen["q"]
        named = Q(name__icontains=text)
        batches = batches.filter(named if (pk := id_in(text)) is None else named | Q(pk=pk))
    narrowed: BatchQuerySet = in_days(batches, "created_at", chosen)
    return narrowed


def _validity(which: str) -> Q:
    now = timezone.now()
    if which == "over":
        return Q(expires_at__lte=now)
    valid = Q(expires_at__gt=now)
    return valid if which == "valid" else valid & Q(expires_at__lte=now + timedelta(days=int(which)))


@staff_view("cards.view_batch")
def batch_detail(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = get_object_or_404(
        Batch.objects.with_used().select_related("line", "created_by", "asked_by", "approved_by"), pk=pk
    )
    form = CardFilter(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    cards = Card.objects.filter(batch=batch, **chosen).select_related("used_by").defer("sealed", "lookup")
    page = KeysetPage(cards, request, size=CARDS_A_PAGE, key="serial", ascending=True)
    left = left_of(batch)
    is_asker = request.user.pk in (batch.created_by_id, batch.asked_by_id)
    context = {
        "batch": batch,
        "left": left,
        "worth": left * batch.reference_price,
        "description": catalog.describe(batch.product_type, batch.spec),
        "waiting_cards": batch.quantity - batch.generated,
        "waiting_worth": (batch.quantity - batch.generated) * batch.reference_price,
        "is_asker": is_asker,
        "may_approve": request.user.has_perm("cards.approve_batch") and not is_asker,
        "needs_os": catalog.product_of(batch.product_type).needs_os,
        "form": form,
        "page": page,
        "rows": rows_of(list(page)),
        "selectable": request.user.has_perm("cards.disable_batch")
        and any(card.status == CardStatus.UNUSED for card in page),
        "narrowed": bool(chosen),
        "pace": pace_of(batch),
        "last_download": last_download(batch),
        "expired": batch.shown == BatchShown.EXPIRED,
    }
    return render(request, "staff/batch_detail.html", context)


@staff_view("cards.view_batch")
def batch_progress(request: StaffRequest, pk: int) -> HttpResponseBase:
    """The progress bar, asked for every second; once nothing is under way the page is loaded anew."""
    batch = get_object_or_404(Batch, pk=pk)
    if not request.htmx:
        return redirect("staff:batch-detail", pk=pk)
    if batch.status != BatchStatus.GENERATING:
        return HttpResponseClientRefresh()
    return render(request, "staff/_progress.html", {"batch": batch, "pace": pace_of(batch)})
