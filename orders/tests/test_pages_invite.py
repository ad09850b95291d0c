"""Staff invite members: who may, a link shown once, and what stays of it."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.membership import is_invited
from accounts.models import Invitation, User
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction
from cards.models import AuditEvent

from .cast import alice, client_of

__all__ = ["alice"]
pytestmark = pytest.mark.django_db
URL = "/staff/members/invite/"


def staff_with(*permissions: str) -> User:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def test_who_may(alice: User) -> None:
    assert Client().get(URL).status_code == 302
    for user in (alice, staff_with("view_user"), staff_with("invite_member")):
        assert client_of(user).post(URL, {"note": "x"}).status_code == 403
    assert not Invitation.objects.exists()


def test_the_link_is_shown_once(settings: object) -> None:
    settings.SIGN_UP = "invitation"  # type: ignore[attr-defined]
    carol = staff_with("view_user", "invite_member")
    client = client_of(carol)
    page = client.post(URL, {"note": "Li Lei, phoned"}).content.decode()
    found = re.search(r'id="invitation-link">http://127.0.0.1:8000/accounts/invitation/([\w-]+)/<', page)
    assert found
    assert is_invited(found[1])
    again = client.get(URL).content.decode()
    assert found[1] not in again
    assert "Li Lei, phoned" in again
    event = AuditEvent.objects.get(action=AuditAction.INVITE_MEMBER)
    assert (event.actor, event.detail["note"]) == (carol, "Li Lei, phoned")
    assert found[1] not in str(event.detail)


def test_where_sign_up_is_not_by_invitation_it_says_so() -> None:
    page = client_of(staff_with("view_user", "invite_member")).get(URL).content.decode()
    assert "Sign-up is not by invitation here" in page


def test_without_a_reason_no_link() -> None:
    client_of(staff_with("view_user", "invite_member")).post(URL, {"note": ""})
    assert not Invitation.objects.exists()
