"""Who may sign up: everyone, the invited, or nobody; an invitation makes one account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from accounts.exceptions import InvitationNotValid
from accounts.membership import accept_invitation, create_invitation, invitation_link, is_invited
from accounts.models import Invitation, User

from .commands import run_json
from .factories import UserFactory

pytestmark = pytest.mark.django_db
FORM = {
    "email": "new@example.com",
    "username": "newcomer",
    "password1": "long-and-odd-71",
    "password2": "long-and-odd-71",
}


def sign_up(client: Client, **changes: str) -> Any:
    return client.post("/accounts/signup/", FORM | changes)


def path_of(link: str) -> str:
    return link.removeprefix("http://127.0.0.1:8000")


@pytest.mark.parametrize(("mode", "made"), [("open", 1), ("invitation", 0), ("closed", 0)])
def test_without_an_invitation(settings: Any, mode: str, made: int) -> None:
    settings.SIGN_UP = mode
    client = Client()
    page = client.get("/accounts/signup/").content.decode()
    assert ('name="username"' in page) == bool(made)
    sign_up(client)
    assert User.objects.count() == made
    assert ("Create an account" in Client().get("/").content.decode()) == bool(made)


def test_the_secret_leaves_the_address_and_makes_one_account(settings: Any) -> None:
    settings.SIGN_UP = "invitation"
    _made, token = create_invitation(actor=None, note="Li Lei")
    client = Client()
    answer = client.get(path_of(invitation_link(token)))
    assert answer["Location"] == "/accounts/signup/"
    assert token not in client.get("/accounts/signup/").content.decode()
    assert sign_up(client).status_code == 302
    newcomer = User.objects.get()
    assert Invitation.objects.get().used_by == newcomer
    assert not is_invited(token)
    late = Client()
    assert late.get(path_of(invitation_link(token))).status_code == 410
    sign_up(late, username="second", email="second@example.com")
    assert User.objects.count() == 1


def test_opening_the_link_spends_nothing(settings: Any) -> None:
    settings.SIGN_UP = "invitation"
    _made, token = create_invitation(actor=None)
    for _time in range(2):
        assert Client().get(path_of(invitation_link(token))).status_code == 302
    assert is_invited(token)


def test_a_mistake_in_the_form_spends_nothing(settings: Any) -> None:
    settings.SIGN_UP = "invitation"
    _made, token = create_invitation(actor=None)
    client = Client()
    client.get(path_of(invitation_link(token)))
    assert sign_up(client, password2="another-one-72").status_code == 200
    assert is_invited(token)
    assert sign_up(client).status_code == 302


def test_of_two_who_hold_it_one_gets_the_account(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stand before the form; the second is refused when he sends it, and no account of his remains."""
    settings.SIGN_UP = "invitation"
    _made, token = create_invitation(actor=None)
    first, second = Client(), Client()
    for client in (first, second):
        client.get(path_of(invitation_link(token)))
    sign_up(first)
    monkeypatch.setattr("accounts.adapter.is_invited", lambda token: True)  # as if he had been let in just before
    page = sign_up(second, username="second", email="second@example.com")
    assert "Sign Up Closed" in page.content.decode()
    assert list(User.objects.values_list("username", flat=True)) == ["newcomer"]


def test_it_expires(settings: Any) -> None:
    _made, token = create_invitation(actor=None)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not is_invited(token)
    with pytest.raises(InvitationNotValid):
        accept_invitation(token=token, user=UserFactory.create())


def test_only_its_hash_is_kept() -> None:
    made, token = create_invitation(actor=None)
    assert token not in str(list(Invitation.objects.values()))
    assert len(made.token_hash) == 64


def test_used_means_by_somebody() -> None:
    made, _token = create_invitation(actor=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        Invitation.objects.filter(pk=made.pk).update(used_at=timezone.now())


@pytest.mark.parametrize("token", ["nonsense", "x" * 300, "%00", "ünï"])
def test_what_is_no_invitation(settings: Any, token: str) -> None:
    settings.SIGN_UP = "invitation"
    assert Client().get(f"/accounts/invitation/{token}/").status_code == 410


def test_where_sign_up_is_not_by_invitation_the_link_leads_nowhere(settings: Any) -> None:
    settings.SIGN_UP = "closed"
    _made, token = create_invitation(actor=None)
    assert Client().get(path_of(invitation_link(token))).status_code == 410


def test_the_command(settings: Any) -> None:
    staff = UserFactory.create(staff=True)
    facts = run_json("invite_member", "--note", "Li Lei", "--actor", staff.username)
    assert is_invited(facts["link"].rstrip("/").rpartition("/")[2])
    assert (Invitation.objects.get().created_by, facts["note"]) == (staff, "Li Lei")
