"""Finding members by what staff have in hand, by indexes alone."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from .models import User

MOST = 200


def find_members(text: str) -> QuerySet[User]:
    """Members whom a text names: member ID, e-mail address, or the beginning of a user name. Each has its index."""
    named = Q(username__startswith=text) | Q(~Q(email=""), lower_email=text.lower()) | Q(external_id=text)
    if text.isascii() and text.isdigit() and len(text) <= 18:
        # Members known by the company's own number are not found under the portal's.
        named |= Q(pk=int(text), external_id=None) | Q(pk=int(text), external_id="")
    return User.objects.alias(lower_email=Lower("email")).filter(named, is_staff=False)


def keys_of_members(text: str) -> list[int]:
    """The keys of at most MOST of them, looked up first: a list that is narrowed to known members keeps its index."""
    return list(find_members(text).values_list("pk", flat=True)[:MOST])
