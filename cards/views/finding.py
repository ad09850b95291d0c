"""Finding a card by whatever people have in hand. The text is posted, since it may be a whole code."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from accounts.address import client_address
from accounts.exceptions import TooManyAttempts

from .. import staff_lookups
from ..forms import FindForm
from ..models import Card, CardUse, Replacement
from .access import SEE_LAST4, StaffRequest, staff_view


@staff_view("cards.view_card")
@sensitive_post_parameters("q")
@sensitive_variables("form")
def card_find(request: StaffRequest) -> HttpResponseBase:
    by_last4 = request.user.has_perm(SEE_LAST4)
    form = FindForm(request.POST or None, by_last4=by_last4)
    context: dict[str, object] = {"form": form}
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["q"]
        form = FindForm(by_last4=by_last4)  # what was typed may be a code: it is not written into the page again
        try:
            found = staff_lookups.find(text, actor=request.user, address=client_address(request), by_last4=by_last4)
        except TooManyAttempts as refusal:
            return render(request, "staff/card_find.html", {"form": form, "refusal": refusal}, status=429)
        alone = text.isascii() and text.isdigit() and len(text) < 10
        context = {"form": form, "found": found, "rows": rows_of(found.cards), "number_alone": alone}
    return render(request, "staff/card_find.html", context)


def rows_of(cards: list[Card]) -> list[tuple[Card, str, int | None, int | None]]:
    """(card, order number, serial of the card that replaced it, serial of the card it replaces)."""
    ids = [card.pk for card in cards]
    orders = dict(CardUse.objects.filter(card__in=ids, returned_at=None).values_list("card_id", "order_number"))
    links = Replacement.objects.filter(Q(old__in=ids) | Q(new__in=ids)).select_related("old", "new")
    links = links.only("old__serial", "new__serial")
    replaced_by = {link.old_id: link.new.serial for link in links}
    replaces = {link.new_id: link.old.serial for link in links}
    return [(card, orders.get(card.pk, ""), replaced_by.get(card.pk), replaces.get(card.pk)) for card in cards]
