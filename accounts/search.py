"""Finding people by what staff have in hand, by indexes alone."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from .exceptions import AddressUnconfirmed, NoSuchUser, SeveralUsers
from .mailboxes import unconfirmed_address
from .models import User

MOST = 200


def user_named(text: str) -> User:
    """The one person with this user name, e-mail address or member ID, as pages show it.

    Raises NoSuchUser; SeveralUsers where the text is one person's name and another's member ID; AddressUnconfirmed
    where it is an address that somebody only named. A card must not go to whoever chose his names cleverly.
    """
    found = list(people_named(text).order_by("pk")[:3])
    if not found:
        raise NoSuchUser(text)
    if len(found) > 1:
        raise SeveralUsers(text, [user.get_username() for user in found])
    (user,) = found
    if "@" in text and user.get_username() != text and unconfirmed_address(user):
        raise AddressUnconfirmed(text)
    return user


def people_named(text: str) -> QuerySet[User]:
    """Everybody, staff too, with this user name, e-mail address or member ID."""
    named = Q(username=text) | Q(~Q(email=""), lower_email=text.lower()) | _has_member_id(text)
    return _with_lower_email().filter(named) if text else User.objects.none()


def find_members(text: str) -> QuerySet[User]:
    """Members whom a text names: member ID, e-mail address, or the beginning of a user name. Each has its index."""
    named = Q(username__startswith=text) | Q(~Q(email=""), lower_email=text.lower()) | _has_member_id(text)
    return _with_lower_email().filter(named, is_staff=False)


def keys_of_members(text: str) -> list[int]:
    """The keys of at most MOST of them, looked up first: a list that is narrowed to known members keeps its index."""
    return list(find_members(text).values_list("pk", flat=True)[:MOST])


def _with_lower_email() -> QuerySet[User]:
    return User.objects.alias(lower_email=Lower("email"))


def _has_member_id(text: str) -> Q:
    """As `User.member_id`: who is known by the company's own number is not found under the portal's."""
    known = Q(external_id=text)
    if text.isascii() and text.isdigit() and len(text) <= 18 and not text.startswith("0"):
        known |= Q(pk=int(text), external_id=None) | Q(pk=int(text), external_id="")
    return known
