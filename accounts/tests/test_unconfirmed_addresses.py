"""A stranger who signs up with somebody's address keeps nobody out, and is out once its owner comes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.mailboxes import free_spare_address, take_possession
from accounts.models import User

from .factories import PASSWORD, UserFactory
from .provider import Company, company, company_process

__all__ = ["company", "company_process"]
pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("company")]
VICTIM, NEW = "victim@example.com", "victims-long-word-7"


@pytest.fixture(autouse=True)
def no_limits_left_over() -> None:
    cache.clear()


@pytest.fixture
def stranger() -> Client:
    """Signed up with the victim's address, which he cannot confirm, and signed in."""
    client = Client(headers={"accept-language": "en"})
    form = {"email": VICTIM, "username": "squatter", "password1": PASSWORD, "password2": PASSWORD}
    client.post("/accounts/signup/", form)
    assert client.session["_auth_user_id"] == str(squatter().pk)
    return client


def squatter() -> User:
    return User.objects.get(username="squatter")


def whose(client: Client) -> User | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key) if key else None


def reset_password(email: str) -> bool:
    """Whether a mail with a link came, and was used."""
    mail.outbox.clear()
    client = Client(headers={"accept-language": "en"})
    client.post("/accounts/password/reset/", {"email": email})
    (message,) = mail.outbox
    assert message.to == [email]
    if not (link := re.search(r"https?://testserver(/\S+/password/reset/key/\S+)", message.body)):
        return False
    form: Any = client.get(link[1])
    assert client.post(form["Location"], {"password1": NEW, "password2": NEW}).status_code == 302
    return True


def test_the_companys_word_outranks_a_stranger_who_only_named_the_address(stranger: Client, company: Company) -> None:
    company.knows("vic", preferred_username="vic", email="Victim@example.com", email_verified=True)
    client = Client(headers={"accept-language": "en"})
    answer = company.sign_in(client, "vic")
    member = whose(client)
    assert member is not None
    assert (member.username, member.email) == ("vic", VICTIM)
    assert EmailAddress.objects.get(email=VICTIM).user == member
    assert squatter().email == ""
    assert "named your e-mail address without confirming it" in client.get(answer["Location"]).content.decode()


def test_one_who_confirmed_another_keeps_that_one(stranger: Client, company: Company) -> None:
    EmailAddress.objects.create(user=squatter(), email="own@example.com", verified=True)
    company.knows("vic2", email=VICTIM, email_verified=True)
    company.sign_in(client := Client(), "vic2")
    assert whose(client) not in (None, squatter())
    assert squatter().email == "own@example.com"


@pytest.mark.parametrize("holder", ["confirmed", "entered by staff", "staff"])
def test_an_address_that_is_somebodys_stays_his(company: Company, holder: str) -> None:
    user = UserFactory.create(email=VICTIM, is_staff=holder == "staff")
    if holder != "entered by staff":
        EmailAddress.objects.create(user=user, email=VICTIM, primary=True, verified=holder == "confirmed")
    subject = f"other-{holder}".replace(" ", "-")
    company.knows(subject, email=VICTIM, email_verified=True)
    company.sign_in(client := Client(), subject)
    assert whose(client) is None
    user.refresh_from_db()
    assert user.email == VICTIM
    assert User.objects.count() == 1


@pytest.mark.parametrize("confirms", ["another", "nothing"])
def test_who_confirmed_another_address_keeps_nobody_from_signing_up(stranger: Client, confirms: str) -> None:
    """Named beside it, the victim's address can neither sign up nor have a password set: it would be nobody's."""
    if confirms == "another":
        EmailAddress.objects.create(user=squatter(), email="own@example.com", verified=True)
    form = {"email": "Victim@Example.com", "username": "vic", "password1": NEW, "password2": NEW}
    owner = Client(headers={"accept-language": "en"})
    answer = owner.post("/accounts/signup/", form)
    if confirms == "another":
        assert whose(owner) == User.objects.get(username="vic", email=VICTIM)
        assert squatter().email == "own@example.com"
        assert list(EmailAddress.objects.filter(email=VICTIM).values_list("user__username", flat=True)) == ["vic"]
    else:  # it is all he has: the reset by mail is for its owner
        assert "already registered" in answer.content.decode()
        assert squatter().email == VICTIM
        assert reset_password(VICTIM)


def test_staff_keep_an_address_they_have_not_confirmed_yet() -> None:
    colleague = UserFactory.create(email="work@example.com", staff=True)
    EmailAddress.objects.create(user=colleague, email="work@example.com", verified=True, primary=True)
    EmailAddress.objects.create(user=colleague, email=VICTIM)
    assert not free_spare_address(VICTIM)
    assert EmailAddress.objects.filter(user=colleague, email=VICTIM).exists()


def test_nothing_is_connected_while_the_address_is_not_confirmed(stranger: Client, company: Company) -> None:
    company.knows("mallory")
    stranger.post("/accounts/reauthenticate/", {"password": PASSWORD})
    answer = company.sign_in(stranger, "mallory", process="connect")
    assert answer["Location"] == "/accounts/email/"
    assert "confirm your e-mail address first" in stranger.get(answer["Location"]).content.decode()
    assert not SocialAccount.objects.exists()
    EmailAddress.objects.update(verified=True)
    company.sign_in(stranger, "mallory", process="connect")
    assert SocialAccount.objects.get().user == squatter()


def test_the_owners_reset_ends_what_the_stranger_tied_to_the_account(stranger: Client, company: Company) -> None:
    """As it may have been before: connected, with the company's ID, a second factor and another address."""
    account = squatter()
    company.knows("mallory")
    SocialAccount.objects.create(user=account, provider="company", uid="mallory")
    User.objects.filter(pk=account.pk).update(external_id="mallory")
    TOTP.activate(account, generate_totp_secret())
    EmailAddress.objects.create(user=account, email="thief@example.com")
    assert stranger.get("/orders/").status_code == 200

    assert reset_password(VICTIM)
    assert stranger.get("/orders/").status_code == 302
    assert not SocialAccount.objects.exists()
    assert not Authenticator.objects.exists()
    assert list(EmailAddress.objects.values_list("user", "email", "verified")) == [(account.pk, VICTIM, True)]
    company.sign_in(mallory := Client(), "mallory")
    assert whose(mallory) not in (None, account)
    owner = Client()
    owner.post("/accounts/login/", {"login": VICTIM, "password": NEW})
    assert whose(owner) == account


def test_a_reset_by_a_confirmed_address_takes_nothing_away() -> None:
    member = UserFactory.create(email=VICTIM, external_id="2305")
    EmailAddress.objects.create(user=member, email=VICTIM, verified=True, primary=True)
    EmailAddress.objects.create(user=member, email="second@example.com")
    SocialAccount.objects.create(user=member, provider="company", uid="2305")
    TOTP.activate(member, generate_totp_secret())
    assert reset_password(VICTIM)
    member.refresh_from_db()
    assert member.check_password(NEW)
    assert member.external_id == "2305"
    assert (SocialAccount.objects.count(), Authenticator.objects.count(), EmailAddress.objects.count()) == (1, 1, 2)


def test_an_address_that_was_only_added_resets_nothing() -> None:
    member = UserFactory.create(email="li@example.com")
    EmailAddress.objects.create(user=member, email=member.email, verified=True, primary=True)
    EmailAddress.objects.create(user=member, email="thief@example.com")
    assert not reset_password("thief@example.com")
    member.refresh_from_db()
    assert member.check_password(PASSWORD)


def test_staff_keep_their_second_factor() -> None:
    staff = UserFactory.create(staff=True)
    EmailAddress.objects.create(user=staff, email=staff.email, primary=True)
    TOTP.activate(staff, generate_totp_secret())
    assert take_possession(user=staff)
    assert Authenticator.objects.filter(user=staff).exists()
    assert not take_possession(user=staff)  # once
