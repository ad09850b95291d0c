"""The page before a deed: what will happen, in numbers; a form; then the deed, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpResponseBase
from django.shortcuts import redirect, render

from accounts.money import shown
from cards.views.access import StaffRequest

from .exceptions import OrderError


@dataclass(frozen=True)
class Deed:
    """`says`: sentences about what will happen. `trail`: (label, URL) of the pages above. `keep`: the way out, where
    "Cancel" could be taken for the deed."""

    title: str
    button: str
    says: Sequence[Any]
    back: str
    trail: Sequence[tuple[Any, str]] = ()
    danger: bool = False
    keep: str = ""


def deed_page(request: StaffRequest, deed: Deed, form: Form, act: Callable[[], str]) -> HttpResponseBase:
    """`act` does it and returns what to tell the person; what it refuses is told on the page it leads back to."""
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, act())
        except OrderError as refusal:
            messages.error(request, str(refusal))
        return redirect(deed.back)
    return render(request, "staff/deed.html", {"deed": deed, "form": form}, status=422 if form.errors else 200)


def sum_of(amount: Decimal) -> str:
    """An amount of money within a sentence."""
    return shown(amount)
