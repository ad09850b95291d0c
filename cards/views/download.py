"""Handing out the codes of a batch (下载): what, why, who, then a stream. And one card's code on the screen."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from accounts.address import client_address

from .. import exports
from ..audit import last_download
from ..choices import CardStatus
from ..exceptions import CardError, CodeGone
from ..exports import Handout
from ..exports.forms import DownloadForm, RevealForm
from ..models import Batch, Card
from ..reveal import reveal_card
from ..vault import KeyUnavailable
from .access import StaffRequest, staff_view


@staff_view("cards.download_batch")
def batch_download(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = get_object_or_404(Batch.objects.with_used(), pk=pk)
    initial = {name: request.GET[name] for name in ("serials", "file_format", "layout") if name in request.GET}
    form = DownloadForm(request.POST or None, request=request, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            handout = exports.hand_out(
                batch=batch, actor=request.user, address=client_address(request), **form.wishes()
            )
        except CardError as error:
            form.add_error(None, str(error))
        except KeyUnavailable:
            form.add_error(None, _("The key of this batch is not available. Please tell whoever runs the portal."))
        else:
            return _attachment(handout)
    context: dict[str, Any] = {"batch": batch, "form": form}
    context["usable"] = Card.objects.filter(
        batch=batch, serial__lte=batch.issued, status=CardStatus.UNUSED, sealed__isnull=False
    ).count()
    context["last_download"] = last_download(batch)
    context["worth"] = context["usable"] * batch.reference_price
    return render(request, "staff/batch_download.html", context, status=422 if form.errors else 200)


def _attachment(handout: Handout) -> HttpResponseBase:
    response = StreamingHttpResponse(handout, content_type=handout.content_type)
    response["Content-Disposition"] = f'attachment; filename="{handout.filename}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@staff_view("cards.reveal_card")
@sensitive_variables("code")
def card_reveal(request: StaffRequest, pk: int, serial: int) -> HttpResponseBase:
    """The code stands in the answer to the POST and nowhere else: leaving the page is the end of it."""
    card = get_object_or_404(Card.objects.select_related("batch"), batch_id=pk, serial=serial)
    form, code = RevealForm(request.POST or None, request=request), ""
    if request.method == "POST" and form.is_valid():
        try:
            code = reveal_card(
                card=card, actor=request.user, reason=form.cleaned_data["reason"], address=client_address(request)
            )
        except CardError as error:
            form.add_error(None, str(error))
        except KeyUnavailable:
            form.add_error(None, _("The key of this batch is not available. Please tell whoever runs the portal."))
    gone = "" if card.sealed is not None and card.status != CardStatus.USED else str(CodeGone())
    context = {"batch": card.batch, "card": card, "form": form, "code": code, "gone": gone}
    response = render(request, "staff/card_reveal.html", context, status=422 if form.errors else 200)
    response["Cache-Control"] = "no-store"
    return response
