"""One text names one person: whoever chose his name cleverly gets nothing that was meant for another."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError
from django.test import Client

from accounts.exceptions import AddressUnconfirmed, NoSuchUser, SeveralUsers
from accounts.models import User
from accounts.search import user_named

from .commands import run
from .factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def sign_up(username: str) -> Any:
    form = {"email": "thief@example.com", "username": username, "password1": PASSWORD, "password2": PASSWORD}
    return Client(headers={"accept-language": "en"}).post("/accounts/signup/", form)


def test_a_person_answers_to_three_names_and_no_other() -> None:
    lihua = UserFactory.create(username="lihua", email="Li@example.com")
    company = UserFactory.create(username="hanmei", email="", external_id="C-2305")
    for text in ("lihua", "li@EXAMPLE.com", lihua.member_id):
        assert user_named(text) == lihua, text
    assert user_named("C-2305") == company
    for text in ("", "LiHua", "c-2305", str(company.pk), f"0{lihua.pk}", "9" * 30, "nobody"):
        with pytest.raises(NoSuchUser):
            user_named(text)


def test_an_old_name_that_reads_like_anothers_member_id_names_nobody() -> None:
    lihua = UserFactory.create(username="lihua")
    UserFactory.create(username=lihua.member_id)
    with pytest.raises(SeveralUsers) as refused:
        user_named(lihua.member_id)
    assert f"({lihua.username}, {lihua.pk})" in str(refused.value)
    assert user_named("lihua") == lihua


def test_the_portals_number_of_one_is_the_companys_of_another() -> None:
    lihua = UserFactory.create(username="lihua")
    hanmei = UserFactory.create(username="hanmei", external_id=str(lihua.pk))
    assert lihua.member_id == hanmei.member_id
    with pytest.raises(SeveralUsers):
        user_named(lihua.member_id)


def test_an_address_that_somebody_only_named_names_nobody() -> None:
    sign_up("squatter")
    thief = User.objects.get()
    with pytest.raises(AddressUnconfirmed, match="has not confirmed"):
        user_named("Thief@example.com")
    assert user_named("squatter") == user_named(thief.member_id) == thief
    EmailAddress.objects.update(verified=True)
    assert user_named("Thief@example.com") == thief


def test_who_has_the_same_text_twice_is_one_person() -> None:
    same = UserFactory.create(username="2305", external_id="2305")
    assert user_named("2305") == same


@pytest.mark.parametrize("username", ["57", "５７", "0", "boss@example.com"])
def test_no_new_name_reads_like_a_member_id_or_an_address(username: str) -> None:
    page = sign_up(username)
    assert "A user name cannot be a number alone, and has no @ in it." in page.content.decode()
    assert not User.objects.exists()


def test_no_new_name_is_a_companys_member_id() -> None:
    UserFactory.create(username="hanmei", external_id="C2305")
    assert "already exists" in sign_up("C2305").content.decode()
    assert not User.objects.filter(username="C2305").exists()


def test_who_has_such_a_name_already_signs_in_with_it() -> None:
    member = UserFactory.create(username="57")
    EmailAddress.objects.create(user=member, email=member.email, verified=True, primary=True)
    client = Client()
    client.post("/accounts/login/", {"login": "57", "password": PASSWORD})
    assert client.session["_auth_user_id"] == str(member.pk)


def test_commands_say_what_is_wrong_and_stop() -> None:
    lihua = UserFactory.create(username="lihua")
    UserFactory.create(username=lihua.member_id)
    with pytest.raises(CommandError, match="one person's name and another's member ID"):
        run("list_orders", "--member", lihua.member_id)
    with pytest.raises(CommandError, match="Nobody has “nobody”"):
        run("list_orders", "--member", "nobody")
