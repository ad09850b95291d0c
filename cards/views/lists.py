"""Disabling a selection or a list of cards: what will happen, in numbers; the deed; what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from accounts.address import client_address
from accounts.exceptions import TooManyAttempts

from .. import lists
from ..choices import ListOutcome
from ..forms import CodeListForm, SelectionForm
from ..lists import Listed, Result
from ..models import Batch
from ..staff_lookups import look_up_list
from .access import StaffRequest, staff_view


@staff_view("cards.disable_batch")
@sensitive_post_parameters("codes")
@sensitive_variables("form")
def cards_disable(request: StaffRequest) -> HttpResponseBase:
    """The list, then what it would do, then what was done. Codes travel in the first POST only."""
    if request.POST.get("step") == "confirm":
        return _confirmed(request)
    form = CodeListForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            lines = look_up_list(form.lines, actor=request.user, address=client_address(request))
        except TooManyAttempts as refusal:
            form.add_error(None, str(refusal))
        else:
            return _foreseen(request, lines, reason=form.cleaned_data["reason"])
    return render(request, "staff/cards_disable.html", {"form": form}, status=422 if form.errors else 200)


@staff_view("cards.disable_batch")
def selection_disable(request: StaffRequest, pk: int) -> HttpResponseBase:
    """The cards ticked on a batch's page."""
    batch = get_object_or_404(Batch, pk=pk)
    serials = [int(text) for text in request.POST.getlist("serial") if text.isascii() and text.isdigit()]
    if request.method != "POST" or not serials:
        return redirect("staff:batch-detail", pk=pk)
    found = lists.cards_of_serials(batch, [serial for serial in serials if serial < 2**31][: lists.MOST_CODES])
    return _foreseen(request, found, by_serial=True)


def _foreseen(
    request: StaffRequest, lines: Sequence[Listed], *, reason: str = "", by_serial: bool = False
) -> HttpResponseBase:
    form = SelectionForm(initial={"lines": lists.pack(lines), "reason": reason, "by_serial": by_serial})
    return _page(request, lists.foreseen(lines), by_serial=by_serial, form=form)


def _confirmed(request: StaffRequest) -> HttpResponseBase:
    form = SelectionForm(request.POST)
    if not form.is_valid():
        if "lines" in form.errors:
            return redirect("staff:cards-disable")
        return render(request, "staff/cards_disable.html", {"form": form}, status=422)
    data = form.cleaned_data
    results = lists.disable_cards(
        lines=data["lines"], actor=request.user, reason=data["reason"], address=client_address(request)
    )
    return _page(request, results, by_serial=data["by_serial"])


def _page(
    request: StaffRequest, results: Sequence[Result], *, by_serial: bool, form: SelectionForm | None = None
) -> HttpResponseBase:
    counts = Counter(result.outcome for result in results)
    deed = ListOutcome.TO_DISABLE if form else ListOutcome.DISABLED
    at_stake = [result.card for result in results if result.outcome == deed and result.card]
    worth: Counter[str] = Counter()
    for card in at_stake:
        worth[card.batch.currency] += card.batch.reference_price  # type: ignore[assignment]
    context = {
        "form": form,
        "results": results,
        "by_serial": by_serial,
        "counts": [(outcome, counts[outcome]) for outcome in ListOutcome if counts[outcome]],
        "disabled": counts[deed],
        "worth": list(worth.items()),
    }
    return render(request, "staff/cards_disable_result.html", context)
