"""Sign-in through the company's own system, against a real OpenID provider in another process."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.test import Client

from accounts.models import User

from .factories import PASSWORD, UserFactory
from .provider import Company, company, company_process

__all__ = ["company", "company_process"]
pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("company")]  # one provider for all


def whose(client: Client) -> User | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key) if key else None


def test_the_first_sign_in_makes_the_member_with_the_companys_id(company: Company) -> None:
    company.knows("2305", preferred_username="lilei", name="Li Lei", email="Li@Example.com", email_verified=True)
    client = Client()
    answer = company.sign_in(client, "2305", next="/cards/redeem/")
    assert (answer.status_code, answer["Location"]) == (302, "/cards/redeem/")
    member = whose(client)
    assert member is not None
    assert (member.username, member.external_id, member.member_id) == ("lilei", "2305", "2305")
    assert (member.email, member.is_staff, member.has_usable_password()) == ("li@example.com", False, False)
    assert EmailAddress.objects.get(user=member).verified
    assert "Member ID 2305" in client.get("/accounts/profile/").content.decode()
    assert not SocialToken.objects.exists()


def test_the_second_finds_him_again_whatever_changed_there(company: Company) -> None:
    company.knows("again", preferred_username="before", email="before@example.com", email_verified=True)
    company.sign_in(Client(), "again")
    company.knows("again", preferred_username="after", email="after@example.com", email_verified=True)
    company.sign_in(client := Client(), "again")
    member = whose(client)
    assert member == User.objects.get()
    assert member is not None
    assert (member.username, member.email) == ("before", "before@example.com")


def test_the_request_is_bound_to_this_browser_by_state_and_pkce(company: Company) -> None:
    company.knows("bound")
    client = Client()
    start = client.post("/accounts/oidc/company/login/")
    query = parse_qs(urlsplit(start["Location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert set(query["scope"][0].split()) == {"openid", "profile", "email"}
    back = company.authorize(start["Location"], "bound")
    stranger = Client()
    assert stranger.get(back).status_code in (200, 401, 403)
    assert whose(stranger) is None
    assert client.get(back.replace("state=", "state=x")).status_code in (200, 401, 403)
    assert whose(client) is None
    assert User.objects.count() == 0


def test_a_get_alone_starts_nothing(company: Company) -> None:
    page = Client().get("/accounts/oidc/company/login/")
    assert page.status_code == 200
    assert b"<form" in page.content


def test_the_claim_of_the_member_id_is_a_setting(company: Company, settings: Any) -> None:
    settings.OIDC_MEMBER_ID_CLAIM = "customer_no"
    company.knows("uuid-1", customer_no=518)
    company.sign_in(client := Client(), "uuid-1")
    member = whose(client)
    assert member is not None
    assert member.external_id == "518"


# --- Whose account it is -------------------------------------------------------------------------------------------
def test_a_member_whom_the_company_named_before_is_that_member(company: Company) -> None:
    member = UserFactory.create(external_id="1840", email="hanmei@example.com")
    company.knows("1840", email="hanmei@example.com", email_verified=True)
    company.sign_in(client := Client(), "1840")
    assert whose(client) == member
    assert User.objects.count() == 1


@pytest.mark.parametrize("verified", [True, False])
def test_an_address_alone_takes_over_nobodys_account(company: Company, verified: bool) -> None:
    victim = UserFactory.create(email="victim@example.com", balance="100")
    subject = f"mallory-{verified}"
    company.knows(subject, email="Victim@example.com", email_verified=verified)
    answer = company.sign_in(client := Client(), subject)
    assert whose(client) != victim
    assert not SocialAccount.objects.filter(user=victim).exists()
    if verified:  # it is his: he is told to sign in here first and to connect it
        assert whose(client) is None
        assert "exists here already" in client.get(answer["Location"]).content.decode()
    else:  # it is a claim only: he is let in, without the address
        mallory = whose(client)
        assert mallory is not None
        assert mallory.email == ""
        assert not EmailAddress.objects.filter(user=mallory).exists()


def test_an_unverified_address_is_not_taken_even_if_free(company: Company) -> None:
    company.knows("claims", email="free@example.com", email_verified=False)
    company.sign_in(client := Client(), "claims")
    member = whose(client)
    assert member is not None
    assert member.email == ""


def test_staff_are_not_found_by_the_companys_id(company: Company) -> None:
    staff = UserFactory.create(staff=True, external_id="9")
    company.knows("9")
    company.sign_in(client := Client(), "9")
    other = whose(client)
    assert other is not None
    assert (other != staff, other.is_staff, other.external_id) == (True, False, None)


def test_signed_in_here_first_the_accounts_can_be_connected(company: Company) -> None:
    member = UserFactory.create(email="li@example.com")
    company.knows("77", email="li@example.com", email_verified=True)
    client = Client()
    client.post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    page = client.get("/accounts/3rdparty/")
    assert "Example Hosting" in page.content.decode()
    assert company.sign_in(client, "77", process="connect")["Location"] == "/accounts/reauthenticate/"
    assert not SocialAccount.objects.exists()
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert SocialAccount.objects.get().user == member
    company.sign_in(again := Client(), "77")
    assert whose(again) == member
    member.refresh_from_db()
    assert member.external_id == "77"


def test_whoever_is_switched_off_here_stays_out(company: Company) -> None:
    UserFactory.create(external_id="off", is_active=False)
    company.knows("off")
    company.sign_in(client := Client(), "off")
    assert whose(client) is None


def test_userinfo_of_another_person_is_refused(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    company.knows("one")
    view = "allauth.socialaccount.providers.openid_connect.views.OpenIDConnectOAuth2Adapter._fetch_user_info"
    monkeypatch.setattr(view, lambda self, token: {"sub": "two"})
    company.sign_in(client := Client(), "one")
    assert whose(client) is None
    assert User.objects.count() == 0


def test_members_whose_ids_are_alike_for_long_are_two(company: Company) -> None:
    """IDs of as many characters as can be kept; a longer one is refused, not cut."""
    stem = "samlp|directory|" + "x" * 44
    for subject in (stem + "-ann", stem + "-bob"):
        assert len(subject) == 64
        company.knows(subject)
        company.sign_in(Client(), subject)
    assert set(User.objects.values_list("external_id", flat=True)) == {stem + "-ann", stem + "-bob"}
    company.knows(stem + "-ann2")
    client = Client(headers={"accept-language": "en"})
    answer = company.sign_in(client, stem + "-ann2")
    assert "an ID that this portal cannot keep" in client.get(answer["Location"]).content.decode()
    assert whose(client) is None
    assert User.objects.count() == 2


@pytest.mark.parametrize("claim", [["518"], {"no": 518}, True, 5.5, "5" * 65, "5\x0018"])
def test_an_id_that_is_no_text_and_no_number_is_refused(company: Company, settings: Any, claim: Any) -> None:
    settings.OIDC_MEMBER_ID_CLAIM = "customer_no"
    company.knows("odd", customer_no=claim)
    client = Client(headers={"accept-language": "zh-hans"})
    answer = company.sign_in(client, "odd")
    assert "本站无法保存" in client.get(answer["Location"]).content.decode()
    assert not User.objects.exists()


def test_a_subject_too_long_to_be_kept_is_refused(company: Company, settings: Any) -> None:
    settings.OIDC_MEMBER_ID_CLAIM = "customer_no"
    company.knows("s" * 192, customer_no="518")
    client = Client(headers={"accept-language": "en"})
    answer = company.sign_in(client, "s" * 192)
    assert "an ID that this portal cannot keep" in client.get(answer["Location"]).content.decode()
    assert whose(client) is None
    assert not User.objects.exists()


# --- Settings around it ---------------------------------------------------------------------------------------------
def test_a_name_that_reads_like_a_member_id_is_not_taken_over(company: Company) -> None:
    company.knows("c-1", preferred_username="57", name="Li Lei")
    company.sign_in(client := Client(), "c-1")
    member = whose(client)
    assert member is not None
    assert member.username == "li"


@pytest.mark.parametrize("mode", ["closed", "invitation", "open"])
def test_the_companys_members_come_in_whatever_sign_up_says(company: Company, settings: Any, mode: str) -> None:
    settings.SIGN_UP = mode
    company.knows(f"member-{mode}", preferred_username=mode)
    company.sign_in(client := Client(), f"member-{mode}")
    assert whose(client) is not None


def test_the_sign_in_page_offers_it_and_keeps_where_one_wanted_to_go(company: Company) -> None:
    page = Client().get("/accounts/login/?next=/orders/").content.decode()
    assert "Sign in with Example Hosting" in page
    assert 'action="/accounts/oidc/company/login/?next=/orders/"' in page or "?next=%2Forders%2F" in page
    assert 'name="password"' in page


def test_without_passwords_the_company_is_the_only_way(company: Company, settings: Any) -> None:
    settings.LOCAL_PASSWORDS = False
    settings.AUTHENTICATION_BACKENDS = ["accounts.backends.NoPasswords"]
    member, client = UserFactory.create(), Client()
    page = client.get("/accounts/login/").content.decode()
    assert 'name="password"' not in page
    assert "Sign in with Example Hosting" in page
    client.post("/accounts/login/", {"login": member.username, "password": PASSWORD})
    assert whose(client) is None
    assert not Client().login(username=member.username, password=PASSWORD)
    assert "Sign Up Closed" in client.get("/accounts/signup/").content.decode()
    company.knows("only")
    company.sign_in(client, "only")
    assert whose(client) is not None
    assert "/accounts/password/change/" not in client.get("/accounts/profile/").content.decode()


def test_a_company_that_does_not_answer_is_no_500(settings: Any) -> None:
    dead = Company("http://127.0.0.1:1")
    settings.OIDC_SERVER_URL = dead.url
    settings.SOCIALACCOUNT_PROVIDERS = dead.settings()
    client = Client()
    answer = client.post("/accounts/oidc/company/login/")
    assert answer["Location"] == "/accounts/login/"
    assert "does not answer at the moment" in client.get(answer["Location"]).content.decode()


def test_without_settings_there_is_no_such_door() -> None:
    assert Client().post("/accounts/oidc/company/login/").status_code == 404
    assert "oidc" not in Client().get("/accounts/login/").content.decode()
