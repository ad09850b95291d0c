"""Codes where a search text is expected: a search stands in an address, and in the audit trail when a list is exported.

`cards.views.access.without_codes` leads such a search to the page that finds cards, which posts what it is given.
"""

from __future__ import annotations

from django.http import QueryDict
from django.views.decorators.debug import sensitive_variables

from accounts.search import keys_of_members

from . import codes
from .imported import imported_form
from .models import Batch, CardUse

MASK = "masked-code"


@sensitive_variables("text")
def is_code(text: str, *, imported: bool = True) -> bool:
    """A whole code of ours, or what looks as imported codes do and names no member, order or batch."""
    try:
        return bool(codes.normalise(text))
    except codes.BadCode:
        return imported and bool(imported_form(text)) and not _names_something(text.strip())


@sensitive_variables("text")
def _names_something(text: str) -> bool:
    return bool(
        keys_of_members(text)
        or CardUse.objects.filter(order_number=text.upper()).exists()
        or Batch.objects.filter(name__icontains=text).exists()
    )


@sensitive_variables()
def masked(query: QueryDict) -> QueryDict:
    """The query with every code in it masked, names included: whoever writes an address by hand may put one there."""
    seen = QueryDict(mutable=True)
    for name, values in query.lists():
        seen.setlist(MASK if is_code(name) else name, [MASK if is_code(value) else value for value in values])
    return seen
