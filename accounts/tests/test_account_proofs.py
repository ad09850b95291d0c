"""The account's own pages: who changes what proves him proves first that it is he, however fresh his sign-in."""

from __future__ import annotations

import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core.cache import cache
from django.test import Client

from accounts.models import AttemptCounter, User
from accounts.stepup import TRIES

from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db
ENGLISH = {"accept-language": "en"}
RECOVERY_CODES = "/accounts/2fa/recovery-codes/"
GUARDED = ["/accounts/2fa/webauthn/add/", "/accounts/2fa/totp/activate/"]


@pytest.fixture(autouse=True)
def no_limits_left_over() -> None:
    cache.clear()


@pytest.fixture
def member() -> User:
    user: User = UserFactory.create(email="li@example.com")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


@pytest.fixture
def client(member: User) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    return client


def grow_older(client: Client, seconds: int) -> None:
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= seconds
    session.save()


def asks(client: Client, page: str) -> bool:
    answer: Any = client.get(page)
    assert answer.status_code in (200, 302)
    return answer.status_code == 302 and answer["Location"].startswith("/accounts/reauthenticate/")


def prove(client: Client) -> None:
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/"})["Location"] == "/"


@pytest.mark.parametrize("page", GUARDED)
def test_a_sign_in_of_this_moment_is_no_proof(client: Client, page: str) -> None:
    assert asks(client, page)
    prove(client)
    assert not asks(client, page)
    grow_older(client, 301)
    assert asks(client, page)


@pytest.mark.parametrize("page", GUARDED)
def test_a_session_without_a_sign_in_of_its_own_is_asked(member: User, page: str) -> None:
    client = Client()
    client.force_login(member)
    assert asks(client, page)


def test_an_open_session_reads_no_recovery_codes(member: User) -> None:
    """With one of them it would pass every step-up."""
    TOTP.activate(member, generate_totp_secret())
    first, second, *_others = RecoveryCodes.activate(member).get_unused_codes()
    fresh = Client()
    fresh.post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    fresh.post("/accounts/2fa/authenticate/", {"code": first})
    assert fresh.get("/accounts/profile/").status_code == 200
    for page in (RECOVERY_CODES, f"{RECOVERY_CODES}download/", f"{RECOVERY_CODES}generate/"):
        assert asks(fresh, page), page
    prove(fresh)
    assert second in fresh.get(RECOVERY_CODES).content.decode()


def test_an_open_session_makes_no_factor(client: Client, member: User) -> None:
    secret = generate_totp_secret()
    session = client.session
    session["mfa.totp.secret"] = secret
    session.save()
    form = {"code": format_hotp_value(hotp_value(secret, int(time.time()) // 30))}
    assert client.post("/accounts/2fa/totp/activate/", form)["Location"].startswith("/accounts/reauthenticate/")
    assert not Authenticator.objects.exists()
    prove(client)
    client.post("/accounts/2fa/totp/activate/", form)
    assert Authenticator.objects.filter(user=member, type="totp").exists()


def test_another_address_needs_a_proof(client: Client, member: User) -> None:
    """With it the password could be reset by whoever finds the session open."""
    answer = client.post("/accounts/email/", {"action_add": "", "email": "thief@example.com"})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert [each.email for each in EmailAddress.objects.filter(user=member)] == ["li@example.com"]
    client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/accounts/email/"})
    assert EmailAddress.objects.filter(user=member).count() == 2


@pytest.mark.parametrize("page", GUARDED)
@pytest.mark.parametrize("password_kept", [False, True])
def test_who_has_only_the_companys_sign_in_needs_a_fresh_one(
    member: User, settings: Any, page: str, password_kept: bool
) -> None:
    """Also where a password is stored that opens nothing any more."""
    settings.LOCAL_PASSWORDS = not password_kept
    if not password_kept:
        member.set_unusable_password()
        member.save(update_fields=["password"])
    client = Client(headers={"accept-language": "en"})
    client.force_login(member)
    answer = client.get(page)
    assert answer["Location"] == "/accounts/profile/"
    assert "Your sign-in is too long ago for this" in client.get("/accounts/profile/").content.decode()
    signed_in(client, member, age=10)
    assert client.get(page).status_code == 200
    signed_in(client, member, age=301)
    assert client.get(page).status_code == 302


def test_a_password_that_opens_nothing_is_not_asked_for(member: User, settings: Any) -> None:
    TOTP.activate(member, generate_totp_secret())
    client = Client()
    client.force_login(member)
    assert asks(client, "/accounts/2fa/webauthn/add/")
    settings.LOCAL_PASSWORDS = False
    assert client.get("/accounts/2fa/webauthn/add/")["Location"].startswith("/accounts/2fa/reauthenticate/")
    assert client.get("/accounts/reauthenticate/")["Location"].startswith("/accounts/2fa/reauthenticate/")


def signed_in(client: Client, member: User, *, age: int) -> None:
    """As if through the company's system, so many seconds ago."""
    session = client.session
    session["account_authentication_methods"] = [{"method": "socialaccount", "at": time.time() - age}]
    session["account_authentication_methods_user"] = str(member.pk)
    session.save()


def test_a_passkeys_form_speaks_chinese(client: Client) -> None:
    prove(client)
    client.cookies["django_language"] = "zh-hans"
    page = client.get(GUARDED[0]).content.decode()
    assert "密钥名称" in page
    assert "仅凭此密钥登录，无需密码" in page
    assert ">Name" not in page


@pytest.mark.parametrize("page", ["/accounts/reauthenticate/", "/accounts/password/change/"])
def test_whoever_finds_a_session_open_guesses_nowhere_more_often_than_at_a_step_up(
    client: Client, member: User, page: str
) -> None:
    """What is right on either page is worth as much as a step-up, and more."""

    def send(password: str) -> Any:
        new = {"password1": "another-long-one-7", "password2": "another-long-one-7"}
        return client.post(page, {"password": password, "oldpassword": password, **new}, headers=ENGLISH)

    for number in range(TRIES):
        cache.clear()  # allauth's own limit, by the minute
        assert send(f"wrong {number}").status_code == 200
    cache.clear()
    assert "Too many attempts. Please wait" in send(PASSWORD).content.decode()
    member.refresh_from_db()
    assert member.check_password(PASSWORD)
    AttemptCounter.objects.all().delete()  # the window is over
    assert send(PASSWORD).status_code == 302
    assert AttemptCounter.objects.get(key=f"stepup:{member.pk}").count == 0
