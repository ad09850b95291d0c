"""What becomes of a batch later: a longer validity, more cards, generating given up. A page each, then the deed."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.forms import Form
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.address import client_address

from .. import approval, changes
from ..choices import BatchShown, BatchStatus
from ..exceptions import BadBatch, CardError, NothingToApprove
from ..forms import AddCardsForm, ApproveForm, ExtendForm, ReasonForm
from ..models import Batch
from ..statistics import left_of
from .access import StaffRequest, staff_view


@staff_view("cards.extend_batch")
def batch_extend(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = _batch(pk)
    form = ExtendForm(request.POST or None, request=request, batch=batch)

    def act() -> str:
        data = form.cleaned_data
        changes.extend_batch(
            batch=batch,
            last_day=data["last_day"],
            actor=request.user,
            reason=data["reason"],
            address=client_address(request),
        )
        return _("Batch %(number)s is valid until %(day)s.") % {"number": batch.number, "day": data["last_day"]}

    return _page(request, batch, form, act, "staff/batch_extend.html")


@staff_view("cards.add_batch")
def batch_add_cards(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = _batch(pk)
    form = AddCardsForm(request.POST or None, batch=batch)

    def act() -> str:
        data = form.cleaned_data
        changes.add_cards(
            batch=batch,
            count=data["count"],
            was=data["was"],
            actor=request.user,
            reason=data["reason"],
            address=client_address(request),
        )
        if batch.status == BatchStatus.WAITING:
            return _("The cards wait for another person's approval.")
        return ngettext(
            "%(n)d more card is being generated.", "%(n)d more cards are being generated.", data["count"]
        ) % {"n": data["count"]}

    return _page(request, batch, form, act, "staff/batch_add_cards.html")


@staff_view("cards.cancel_batch")
def batch_cancel(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = _batch(pk)
    form = ReasonForm(request.POST or None)
    if request.method != "POST" and batch.status not in (BatchStatus.GENERATING, BatchStatus.WAITING):
        messages.info(request, _("No cards of this batch are being generated."))
        return redirect("staff:batch-detail", pk=pk)

    def act() -> str:
        changes.cancel_batch(
            batch=batch, actor=request.user, reason=form.cleaned_data["reason"], address=client_address(request)
        )
        if batch.status == BatchStatus.CANCELLED:
            return _("Batch %(number)s is cancelled.") % {"number": batch.number}
        return _("Generating was stopped. The batch has %(n)d cards.") % {"n": batch.quantity}

    return _page(request, batch, form, act, "staff/batch_cancel.html")


@staff_view("cards.approve_batch")
def batch_approve(request: StaffRequest, pk: int) -> HttpResponseBase:
    """The second person's yes; his no is to stop the batch."""
    batch = _batch(pk)
    if request.method != "POST" and batch.status != BatchStatus.WAITING:
        messages.info(request, str(NothingToApprove()))
        return redirect("staff:batch-detail", pk=pk)
    form = ApproveForm(request.POST or None, request=request, initial={"was": batch.quantity})

    def act() -> str:
        data = form.cleaned_data
        approval.approve_batch(
            batch=batch, actor=request.user, was=data["was"], note=data["note"], address=client_address(request)
        )
        return _("Batch %(number)s is approved; its cards are being generated.") % {"number": batch.number}

    return _page(request, batch, form, act, "staff/batch_approve.html")


def _batch(pk: int) -> Batch:
    return get_object_or_404(Batch.objects.with_used().select_related("line"), pk=pk)


def _page(request: StaffRequest, batch: Batch, form: Form, act: Callable[[], str], template: str) -> HttpResponseBase:
    """The form; once it is valid the act. A refusal stands beside the field it speaks of, or on the batch's page."""
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, act())
        except BadBatch as error:
            for name, texts in error.errors.items():
                for text in texts:
                    form.add_error(name if name in form.fields else None, text)
        except CardError as error:
            messages.error(request, str(error))
            return redirect("staff:batch-detail", pk=batch.pk)
        else:
            return redirect("staff:batch-detail", pk=batch.pk)
    status = 422 if form.errors else 200
    cards = batch.quantity - batch.generated
    left = left_of(batch)
    context = {
        "batch": batch,
        "form": form,
        "cards": cards,
        "worth": cards * batch.reference_price,
        "left": left,
        "left_worth": left * batch.reference_price,
        "expired": batch.shown == BatchShown.EXPIRED,
    }
    return render(request, template, context, status=status)
