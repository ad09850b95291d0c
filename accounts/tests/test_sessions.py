"""Where a person is signed in, and signing out everywhere else."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.actions import set_active
from accounts.models import User

from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def signed_in(username: str, browser: str) -> Client:
    client = Client(headers={"user-agent": browser})
    assert client.post("/accounts/login/", {"login": username, "password": PASSWORD}).status_code == 302
    return client


def test_sign_out_elsewhere() -> None:
    member, other = UserFactory.create(), UserFactory.create()
    here, there = signed_in(member.username, "Firefox here"), signed_in(member.username, "Phone there")
    stranger = signed_in(other.username, "Somebody else")
    page = here.get("/accounts/sessions/").content.decode()
    for text in ("Firefox here", "Phone there", "127.0.0.1", "this one"):
        assert text in page
    assert "Somebody else" not in page
    assert page.index("Phone there") < page.index("Firefox here")  # the newest stands first
    assert here.post("/accounts/sessions/").status_code == 302
    assert here.get("/orders/").status_code == 200
    assert there.get("/orders/").status_code == 302
    assert stranger.get("/orders/").status_code == 200


def test_a_new_password_signs_out_elsewhere() -> None:
    member = UserFactory.create()
    here, there = signed_in(member.username, "here"), signed_in(member.username, "there")
    form = {"oldpassword": PASSWORD, "password1": "another-long-one-7", "password2": "another-long-one-7"}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert here.get("/orders/").status_code == 200
    assert there.get("/orders/").status_code == 302


def test_who_was_shut_out_has_to_sign_in_again() -> None:
    """A thief's session must not come to life again when the member is let in."""
    member, other = UserFactory.create(), UserFactory.create()
    thief, stranger = signed_in(member.username, "thief"), signed_in(other.username, "stranger")
    key = thief.cookies["sessionid"].value
    set_active(user=member, active=False)
    set_active(user=member, active=True)
    assert thief.get("/orders/").status_code == 302
    assert not Session.objects.filter(pk=key).exists()
    assert stranger.get("/orders/").status_code == 200
    assert signed_in(member.username, "here").get("/orders/").status_code == 200


def test_a_sign_in_under_way_while_he_was_shut_out_ends_too() -> None:
    member = UserFactory.create()
    late = signed_in(member.username, "late")
    User.objects.update(is_active=False)  # without ending what comes after it
    set_active(user=member, active=True)
    assert late.get("/orders/").status_code == 302


def test_the_profile_leads_there() -> None:
    client = signed_in(UserFactory.create().username, "here")
    assert 'href="/accounts/sessions/"' in client.get("/accounts/profile/").content.decode()


def test_a_browser_of_unknown_address_can_sign_in() -> None:
    member = UserFactory.create()
    client = Client(REMOTE_ADDR="")
    assert client.post("/accounts/login/", {"login": member.username, "password": PASSWORD}).status_code == 302
