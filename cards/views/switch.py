"""Disabling and enabling batches and single cards: a page that says what happens, then the deed."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from accounts.address import client_address

from .. import actions
from ..choices import CardStatus
from ..exceptions import CardError, UsedCardStays
from ..forms import ReasonForm
from ..models import Batch, Card
from ..statistics import disabled_of
from .access import StaffRequest, staff_view


@staff_view("cards.disable_batch")
def batch_switch(request: StaffRequest, pk: int, *, disable: bool) -> HttpResponseBase:
    batch = get_object_or_404(Batch.objects.with_used(), pk=pk)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        act = actions.disable_batch if disable else actions.enable_batch
        done = _("Batch %(number)s is disabled.") if disable else _("Batch %(number)s is enabled.")
        try:
            act(
                batch=batch,
                actor=request.user,
                reason=form.cleaned_data["reason"],
                address=client_address(request),
            )
        except CardError as error:
            messages.error(request, str(error))
        else:
            undo = reverse("staff:batch-enable", args=[pk]) if disable else ""
            messages.success(request, _with_undo(done % {"number": batch.number}, undo))
        return redirect("staff:batch-detail", pk=pk)
    disabled = disabled_of(batch)
    unused = batch.quantity - batch.used_cards - disabled  # those still to be generated are among them
    context = {
        "batch": batch,
        "form": form,
        "disable": disable,
        "unused": unused,
        "used": batch.used_cards,
        "disabled": disabled,
        "worth": unused * batch.reference_price,
    }
    return render(request, "staff/batch_switch.html", context)


def _with_undo(done: str, undo: str) -> str:
    """What was done and, beside it, the way back."""
    return format_html('{} <a href="{}">{}</a>', done, undo, _("Enable again")) if undo else done


@staff_view("cards.disable_batch")
def card_switch(request: StaffRequest, pk: int, serial: int, *, disable: bool) -> HttpResponseBase:
    card = get_object_or_404(Card.objects.select_related("batch"), batch_id=pk, serial=serial)
    its_page = f"{reverse('staff:batch-detail', args=[pk])}?serial={serial}"
    if request.method != "POST" and card.status == CardStatus.USED:
        messages.info(request, str(UsedCardStays(enable=not disable)))
        return redirect(its_page)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        act = actions.disable_card if disable else actions.enable_card
        done = _("Card %(serial)s is disabled.") if disable else _("Card %(serial)s is enabled.")
        try:
            act(
                card=card,
                actor=request.user,
                reason=form.cleaned_data["reason"],
                address=client_address(request),
            )
        except CardError as error:
            messages.error(request, str(error))
        else:
            undo = reverse("staff:card-enable", args=[pk, serial]) if disable else ""
            messages.success(request, _with_undo(done % {"serial": card.serial}, undo))
        return redirect(its_page)
    return render(
        request, "staff/card_switch.html", {"batch": card.batch, "card": card, "form": form, "disable": disable}
    )
