"""The list of batches and the page of one batch (提货卡管理, 详情)."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django_htmx.http import HttpResponseClientRefresh

from accounts.paging import KeysetPage

from .. import catalog
from ..choices import BatchShown, BatchStatus
from ..forms import BatchFilter, CardFilter, id_in
from ..generation import pace_of
from ..models import Batch, BatchQuerySet, Card
from .access import StaffRequest, staff_view
from .finding import rows_of

BATCHES_A_PAGE = 20
CARDS_A_PAGE = 50


@staff_view("cards.view_batch")
def home(request: StaffRequest) -> HttpResponseBase:
    return redirect("staff:batch-list")


@staff_view("cards.view_batch")
def batch_list(request: StaffRequest) -> HttpResponseBase:
    form = BatchFilter(request.GET)
    form.is_valid()  # a filter that makes no sense is shown as such and narrows nothing
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    batches = _narrowed(Batch.objects.with_used().select_related("line"), chosen)
    oldest_first = request.GET.get("sort") == "id"
    context = {
        "form": form,
        "page": KeysetPage(batches, request, size=BATCHES_A_PAGE, ascending=oldest_first),
        "oldest_first": oldest_first,
        "turned_url": _turned(request.GET, oldest_first),
        "narrowed": bool(chosen),
    }
    return render(request, "staff/batch_list.html", context)


def _turned(params: QueryDict, oldest_first: bool) -> str:
    """The same list from its other end."""
    query = params.copy()
    for name in ("sort", "before", "after"):
        query.pop(name, None)
    if not oldest_first:
        query["sort"] = "id"
    return f"?{query.urlencode()}"


def _narrowed(batches: BatchQuerySet, chosen: dict[str, Any]) -> BatchQuerySet:
    if "type" in chosen:
        batches = batches.filter(product_type=chosen["type"])
    if "line" in chosen:
        batches = batches.filter(line=chosen["line"])
    if "status" in chosen:
        batches = batches.shown_as(chosen["status"])
    if "q" in chosen:
        text = chosen["q"]
        named = Q(name__icontains=text)
        batches = batches.filter(named if (pk := id_in(text)) is None else named | Q(pk=pk))
    return batches


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
    context = {
        "batch": batch,
        "description": catalog.describe(batch.product_type, batch.spec),
        "waiting_cards": batch.quantity - batch.generated,
        "waiting_worth": (batch.quantity - batch.generated) * batch.reference_price,
        "may_approve": request.user.has_perm("cards.approve_batch")
        and request.user.pk not in (batch.created_by_id, batch.asked_by_id),
        "needs_os": catalog.product_of(batch.product_type).needs_os,
        "form": form,
        "page": page,
        "rows": rows_of(list(page)),
        "narrowed": bool(chosen),
        "pace": pace_of(batch),
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
