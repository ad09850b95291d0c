"""Replacing a lost or leaked card: why, who, then the new code, once, as the answer to the POST."""

from __future__ import annotations

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from accounts.address import client_address

from .. import replacement
from ..codes import group
from ..exceptions import CardError
from ..forms import ReplaceForm
from ..models import Card
from ..vault import KeyUnavailable
from .access import StaffRequest, staff_view


@staff_view("cards.replace_card")
@sensitive_variables("code", "context")
def card_replace(request: StaffRequest, pk: int, serial: int) -> HttpResponseBase:
    cards = Card.objects.select_related("batch").defer("sealed", "lookup")
    card = get_object_or_404(cards, batch_id=pk, serial=serial)
    form = ReplaceForm(request.POST or None, request=request)
    context: dict[str, object] = {"batch": card.batch, "card": card, "form": form}
    if request.method == "POST" and form.is_valid():
        try:
            new, code = replacement.replace_card(
                card=card,
                actor=request.user,
                reason=form.cleaned_data["reason"],
                address=client_address(request),
            )
        except CardError as error:
            form.add_error(None, str(error))
        except KeyUnavailable:
            form.add_error(None, _("The key of this batch is not available. Please tell whoever runs the portal."))
        else:
            return render(request, "staff/card_replaced.html", context | {"new": new, "code": group(code)})
    return render(request, "staff/card_replace.html", context, status=422 if form.errors else 200)
