"""Which texts look as imported codes do: a matter of the text and of the forms that were imported, never of a card."""

from __future__ import annotations

from collections.abc import Iterable

from django.views.decorators.debug import sensitive_variables

from . import codes
from .models import CodeForm


@sensitive_variables("code", "canonical")
def imported_form(code: str) -> str:
    """The normal form of a text that looks as imported codes do, "" for any other."""
    try:
        canonical = codes.canonical(code)
    except codes.BadCode:
        return ""
    forms = CodeForm.objects.filter(length=len(canonical)).values_list("symbols", flat=True)
    return canonical if any(set(canonical) <= set(symbols) for symbols in forms) else ""


@sensitive_variables("texts", "text", "canonical")
def lines_of_imported_form(texts: Iterable[str]) -> set[int]:
    """The numbers of the lines, counted from 1, that look so."""
    forms = [(length, set(symbols)) for length, symbols in CodeForm.objects.values_list("length", "symbols")]
    found = set()
    for number, text in enumerate(texts, start=1):
        try:
            canonical = codes.canonical(text)
        except codes.BadCode:
            continue
        if any(len(canonical) == length and symbols.issuperset(canonical) for length, symbols in forms):
            found.add(number)
    return found
