"""Step-up: a deed that needs the person himself is done for a fresh password or second factor, and for nothing less."""

from __future__ import annotations

import time
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts.models import AttemptCounter, User
from accounts.stepup import TRIES, StepUpForm

from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


class DeedForm(StepUpForm):
    reason = forms.CharField()


@pytest.fixture(autouse=True)
def no_used_codes() -> None:
    cache.clear()  # allauth notes there which one-time codes were used


@pytest.fixture
def sam() -> User:
    user: User = UserFactory.create(staff=True)
    return user


def asked_by(user: User, *records: dict[str, Any]) -> HttpRequest:
    """A request of this user, whose session holds these of allauth's records of authentication."""
    request = RequestFactory().post("/staff/somewhere/?page=2")
    request.user, request.session = user, SessionStore()
    for record in records:
        record_authentication(request, user, **record)  # writes `at`, which a record of ours may overrule
    return request


def sent(user: User, *records: dict[str, Any], reason: str = "why", **typed: str) -> DeedForm:
    request = asked_by(user, *records)
    with context.request_context(request):
        form = DeedForm({"reason": reason} | typed, request=request)
        form.is_valid()
    return form


def totp_of(user: User) -> str:
    """Set up an authenticator app; returns its current code."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def without_password(user: User) -> User:
    user.set_unusable_password()
    user.save(update_fields=["password"])
    return user


def test_the_own_password_does_it_and_is_not_kept(sam: User) -> None:
    form = sent(sam, password=PASSWORD)
    assert form.is_valid()
    assert form.cleaned_data == {"reason": "why"}
    assert form.request.sensitive_post_parameters == ["password", "second_factor"]


@pytest.mark.parametrize("typed", [{}, {"password": ""}, {"password": "wrong"}, {"second_factor": "123456"}])
def test_nothing_less_does(sam: User, typed: dict[str, str]) -> None:
    form = sent(sam, **typed)
    assert not form.is_valid()
    assert "password" in form.errors


def test_a_password_is_good_for_one_deed_only(sam: User) -> None:
    request = asked_by(sam)
    assert DeedForm({"reason": "x", "password": PASSWORD}, request=request).is_valid()
    assert not DeedForm({"reason": "x"}, request=request).is_valid()


@pytest.mark.parametrize("path", ["/staff/members/top-up", "/accounts/reauthenticate/"])
def test_whose_password_is_hashed_anew_meanwhile_stays_signed_in(
    sam: User, client: Client, settings: Any, path: str
) -> None:
    """With another hasher in front, as after an upgrade of Django, the check stores a new hash; sessions hang on it."""
    client.force_login(sam)
    before = sam.password
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    if path == "/accounts/reauthenticate/":
        response = client.post(path, {"password": PASSWORD, "next": "/accounts/profile/"})
        assert response["Location"] == "/accounts/profile/"
    else:
        request = asked_by(sam)
        request.session = client.session
        assert DeedForm({"reason": "x", "password": PASSWORD}, request=request).is_valid()
        request.session.save()
        client.cookies[settings.SESSION_COOKIE_NAME] = request.session.session_key
    sam.refresh_from_db()
    assert sam.password != before
    assert client.get("/accounts/profile/").status_code == 200
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert UserSession.objects.filter(user=sam, session_key=key).exists()  # listed under its new key, and can be ended


def test_a_code_of_the_app_stands_in_for_the_password_and_counts_for_five_minutes(sam: User, settings: Any) -> None:
    code = totp_of(sam)
    assert "second_factor" in DeedForm(request=asked_by(sam)).fields
    form = sent(sam, second_factor=code)
    assert form.is_valid(), form.errors
    again = DeedForm({"reason": "x"}, request=form.request)
    assert list(again.fields) == ["reason"]
    assert again.is_valid()
    settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = 0
    assert not DeedForm({"reason": "x"}, request=form.request).is_valid()


def test_a_code_works_once(sam: User) -> None:
    code = totp_of(sam)
    assert sent(sam, second_factor=code).is_valid()
    assert sent(sam, second_factor=code).errors == {"second_factor": ["Incorrect code."]}


def test_a_mistake_elsewhere_costs_no_recovery_code(sam: User) -> None:
    totp_of(sam)
    codes = RecoveryCodes.activate(sam)
    first = codes.get_unused_codes()[0]
    assert not sent(sam, reason="", second_factor=first).is_valid()
    assert len(codes.get_unused_codes()) == 10
    assert sent(sam, second_factor=first).is_valid()
    codes.instance.refresh_from_db()
    assert first not in codes.get_unused_codes()


def test_wrong_tries_of_either_kind_share_one_throttle_and_right_ones_are_not_counted(sam: User) -> None:
    code = totp_of(sam)
    for _ in range(TRIES + 1):
        assert sent(sam, password=PASSWORD).is_valid()
    for number in range(TRIES):
        wrong = {"password": "wrong"} if number % 2 else {"second_factor": "000000x"}
        assert not sent(sam, **wrong).is_valid()
    assert "Too many attempts" in str(sent(sam, password=PASSWORD).errors)
    assert "Too many attempts" in str(sent(sam, second_factor=code).errors)
    assert AttemptCounter.objects.get(key=f"stepup:{sam.pk}").count == TRIES
    assert sent(UserFactory.create(staff=True), password=PASSWORD).is_valid()


def now(**more: Any) -> dict[str, Any]:
    return {"method": "mfa", "at": time.time() - more.pop("age", 10), **more}


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({"type": "webauthn", "passwordless": True}, True),
        ({"type": "webauthn", "reauthenticated": True}, True),
        ({"method": "password", "reauthenticated": True}, True),
        ({"method": "password"}, False),
        ({"type": "webauthn", "reauthenticated": True, "age": 301}, False),
    ],
)
def test_which_of_allauths_records_count(sam: User, facts: dict[str, Any], counts: bool) -> None:
    assert sent(sam, now(**facts)).is_valid() is counts


def test_a_passkey_has_a_link_that_leads_back(sam: User) -> None:
    Authenticator.objects.create(user=sam, type=Authenticator.Type.WEBAUTHN, data={})
    form = DeedForm(request=asked_by(sam))
    assert form.step_up.passkey
    assert form.passkey_url == "/accounts/2fa/webauthn/reauthenticate/?next=%2Fstaff%2Fsomewhere%2F%3Fpage%3D2"
    assert 'href="/accounts/2fa/webauthn/reauthenticate/?next=' in form.render()
    assert sent(sam).errors == {"__all__": ["Prove first that it is you."]}


def test_without_a_password_a_second_factor_or_a_recent_sign_in_does_it(sam: User) -> None:
    without_password(sam)
    assert not sent(sam).is_valid()
    assert "Sign out" in DeedForm(request=asked_by(sam)).render()
    assert not sent(sam, password="").is_valid()
    assert sent(sam, now(method="socialaccount")).is_valid()
    assert not sent(sam, now(method="socialaccount", age=301)).is_valid()
    code = totp_of(sam)
    assert not sent(sam, now(method="socialaccount")).is_valid()  # he has something better now
    assert sent(sam, second_factor=code).is_valid()


def test_where_passwords_open_nothing_an_old_one_proves_nothing(sam: User, settings: Any) -> None:
    assert sent(sam, password=PASSWORD).is_valid()
    settings.LOCAL_PASSWORDS = False
    assert not sent(sam, password=PASSWORD).is_valid()
    assert "password" not in DeedForm(request=asked_by(sam)).fields
    assert sent(sam, now(method="socialaccount")).is_valid()
    assert not sent(sam, now(method="socialaccount", age=301)).is_valid()


def test_records_of_another_person_in_the_session_do_not_count(sam: User) -> None:
    request = asked_by(sam, now(reauthenticated=True))
    request.user = UserFactory.create(staff=True)
    assert not DeedForm({"reason": "x"}, request=request).is_valid()
