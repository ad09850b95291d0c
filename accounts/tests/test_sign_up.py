"""Signing up here: the address is confirmed by mail, by setting before the first sign-in."""

from __future__ import annotations

import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import AttemptCounter, User

pytestmark = pytest.mark.django_db
FORM = {
    "email": "new@example.com",
    "username": "newcomer",
    "password1": "long-and-odd-71",
    "password2": "long-and-odd-71",
}


def link_in_mail() -> str:
    found = re.search(r"https?://testserver(/accounts/confirm-email/\S+)", mail.outbox[-1].body)
    assert found
    return found[1]


def is_in(client: Client) -> bool:
    return client.get("/orders/").status_code == 200


def test_the_address_is_confirmed_by_a_post_from_its_mail(settings: Any) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    client = Client()
    client.post("/accounts/signup/", FORM)
    assert not is_in(client)
    client.post("/accounts/login/", {"login": "newcomer", "password": FORM["password1"]})
    assert not is_in(client)
    link = link_in_mail()
    Client().get(link)  # a mail scanner follows links
    assert not EmailAddress.objects.get().verified
    Client().post(link)
    assert EmailAddress.objects.get().verified
    client.post("/accounts/login/", {"login": "new@example.com", "password": FORM["password1"]})
    assert is_in(client)


def test_by_default_the_mail_comes_and_the_door_is_open() -> None:
    client = Client()
    client.post("/accounts/signup/", FORM)
    assert is_in(client)
    assert "/accounts/confirm-email/" in mail.outbox[-1].body


def test_who_is_here_already_cannot_be_found_out(settings: Any) -> None:
    """Where addresses have to be confirmed: otherwise the form itself must say that one is taken."""
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    User.objects.create_user("victim", "new@example.com", "long-and-odd-70")
    answer = Client().post("/accounts/signup/", FORM)
    assert answer.status_code == 302
    assert User.objects.count() == 1
    assert "already" in mail.outbox[-1].body


def test_a_forgotten_password(settings: Any) -> None:
    user = User.objects.create_user("alice", "new@example.com", "long-and-odd-70")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    known, unknown = (
        Client().post("/accounts/password/reset/", {"email": email}) for email in (user.email, "no@example.com")
    )
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    path = re.search(r"https?://testserver(/accounts/password/reset/key/\S+)", mail.outbox[0].body)
    assert path
    client = Client()
    form = client.get(path[1])["Location"]
    client.post(form, {"password1": "quite-another-72", "password2": "quite-another-72"})
    assert Client().login(username="alice", password="quite-another-72")
    user.refresh_from_db()
    assert not user.check_password("long-and-odd-70")


@pytest.mark.parametrize(("language", "chinese"), [("en", False), ("zh-hans", True)])
def test_the_mails_about_an_account_are_in_its_language(settings: Any, language: str, chinese: bool) -> None:
    settings.SUPPORT_CONTACT = "400-000-0000"
    client = Client(headers={"accept-language": language})
    client.post("/accounts/signup/", FORM)
    client.post("/accounts/logout/")
    client.post("/accounts/password/reset/", {"email": FORM["email"]})
    welcome, reset = mail.outbox
    for message, link in ((welcome, "/accounts/confirm-email/"), (reset, "/accounts/password/reset/key/")):
        assert link in message.body
        for text in (message.subject, message.body):
            assert bool(re.search(r"[\u4e00-\u9fff]", text)) is chinese, text
            assert ("提货卡" if chinese else "Pickup card portal") in text
            plain = re.sub(r"https?://\S+|testserver|" + FORM["username"], "", text)
            assert not chinese or not re.search(r"[A-Za-z]{3}", plain), plain
        assert "testserver" not in message.subject
        assert ("联系客服：400-000-0000" if chinese else "Contact us: 400-000-0000") in message.body


def test_the_form_sent_twice_makes_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's account is made after this one's form was found right."""
    save_user = DefaultAccountAdapter.save_user

    def a_moment_late(*args: Any, **kwargs: Any) -> Any:
        User.objects.create_user("newcomer", "new@example.com", "long-and-odd-71")
        return save_user(*args, **kwargs)

    monkeypatch.setattr(DefaultAccountAdapter, "save_user", a_moment_late)
    client = Client(headers={"accept-language": "en"})
    answer = client.post("/accounts/signup/", FORM)
    assert answer["Location"] == "/accounts/login/"
    assert "was made just now" in client.get("/accounts/login/").content.decode()
    assert User.objects.count() == 0  # of this test's own, which the same transaction took back


def test_a_block_of_addresses_makes_so_many_accounts_a_day(settings: Any) -> None:
    """Each account has guesses of its own: who could make any number of them could guess any number of times."""
    settings.SIGN_UPS_A_DAY = 2
    answers = [
        Client(REMOTE_ADDR=address, headers={"accept-language": "en"}).post(
            "/accounts/signup/", FORM | {"email": f"{name}@example.com", "username": name}, follow=True
        )
        for name, address in [
            ("one", "192.0.2.1"),
            ("two", "192.0.2.200"),
            ("three", "192.0.2.7"),
            ("far", "192.0.3.7"),
        ]
    ]
    assert sorted(User.objects.values_list("username", flat=True)) == ["far", "one", "two"]
    assert "Too many attempts. Please wait 24 hours" in answers[2].content.decode()
    AttemptCounter.objects.update(window_start=timezone.now() - timedelta(hours=24))
    Client(REMOTE_ADDR="192.0.2.1").post("/accounts/signup/", FORM)
    assert User.objects.filter(username="newcomer").exists()


def change_password(client: Client) -> Any:
    new = {"oldpassword": "long-and-odd-70", "password1": "quite-another-72", "password2": "quite-another-72"}
    return client.post("/accounts/password/change/", new)


@pytest.fixture
def alice_signed_in() -> Client:
    user = User.objects.create_user("alice", "alice@example.com", "long-and-odd-70", time_zone="Asia/Tokyo")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    client = Client(headers={"accept-language": "zh-hans"})
    assert client.post("/accounts/login/", {"login": "alice", "password": "long-and-odd-70"}).status_code == 302
    mail.outbox.clear()
    return client


def test_whoever_owns_the_account_hears_that_its_password_was_changed(alice_signed_in: Client) -> None:
    assert change_password(alice_signed_in).status_code == 302
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["alice@example.com"], "[提货卡] 密码已修改")
    assert re.search(r"时间：\d{4}-\d\d-\d\d \d\d:\d\d UTC\+0900\nIP 地址：127.0.0.1\n\n如非您本人操作", message.body)


def test_the_address_before_hears_of_the_one_that_follows(alice_signed_in: Client) -> None:
    EmailAddress.objects.create(user=User.objects.get(), email="thief@example.com", verified=True)
    alice_signed_in.post("/accounts/reauthenticate/", {"password": "long-and-odd-70"})
    answer = alice_signed_in.post("/accounts/email/", {"action_primary": "1", "email": "thief@example.com"})
    assert answer["Location"] == "/accounts/email/"
    assert EmailAddress.objects.get(primary=True).email == "thief@example.com"
    assert [message.to for message in mail.outbox] == [["alice@example.com"]]
    assert "thief@example.com" in mail.outbox[0].body


def test_an_address_that_nobody_confirmed_hears_nothing(alice_signed_in: Client) -> None:
    EmailAddress.objects.update(verified=False)
    assert change_password(alice_signed_in).status_code == 302
    assert mail.outbox == []


def test_a_password_is_changed_without_the_mail_server(
    alice_signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any, **kwargs: Any) -> None:
        raise SMTPServerDisconnected

    monkeypatch.setattr("django.core.mail.EmailMessage.send", down)
    assert change_password(alice_signed_in).status_code == 302
    assert Client().login(username="alice", password="quite-another-72")
