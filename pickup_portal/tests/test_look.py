"""The promises of the look: a strict policy, one vocabulary, every surface finds its pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.template import engines
from django.urls import reverse
from django.utils import timezone, translation

from accounts.adapter import AccountAdapter
from accounts.models import User
from cards.choices import ProductType
from cards.templatetags.cards import member_type
from pickup_portal.templatetags import portal

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
STYLESHEET = Path(settings.BASE_DIR, "static", "portal.css").read_text()
AN_INSTANT = datetime(2026, 11, 23, 16, 30, 5, tzinfo=UTC)  # already the 24th in Shanghai


def render(source: str, **context: object) -> str:
    return engines["django"].from_string(source).render(context)


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", "alice@example.com", "correct horse battery")


@pytest.fixture
def sam(db: None) -> User:
    return User.objects.create_superuser("sam", "sam@example.com", "correct horse battery")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_needs_inline_script_or_style(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r"<script(?![^>]*\b(src=|type=\"application/json\"))", source)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\shx-on", source)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", source)


def test_every_state_has_a_colour_of_the_stylesheet_and_an_icon() -> None:
    for kind, (choices, looks) in portal.STATES.items():
        assert set(looks) == set(choices.values), kind
        for value, (colour, icon) in looks.items():
            assert f".state-{colour} " in STYLESHEET
            assert Path(settings.BASE_DIR, f"templates/includes/icons/{icon}.html").exists()
            assert str(choices(value).label) in portal.state(value, kind)


def test_when_speaks_in_the_readers_zone_and_gives_the_full_instant_on_hover() -> None:
    with timezone.override("Europe/Berlin"):
        shown = portal.when(AN_INSTANT)
    assert ">2026-11-23 17:30<" in shown
    assert 'title="2026-11-23 17:30:05 CET UTC+01:00"' in shown


@pytest.mark.parametrize("name", ["home", "staff:batch-list"])
def test_every_page_says_in_which_zone_its_times_are(client, sam, name) -> None:
    sam.time_zone = "Asia/Tokyo"
    sam.save(update_fields=["time_zone"])
    client.force_login(sam)
    assert "Times are shown in Asia/Tokyo (UTC+09:00)." in client.get(reverse(name)).text


def test_day_is_the_portals_day_wherever_the_reader_is() -> None:
    with timezone.override("America/New_York"):
        assert ">2026-11-24<" in portal.day(AN_INSTANT)


def test_money() -> None:
    assert ">¥1,234.50<" in portal.money(Decimal("1234.5"), "CNY")
    assert ">-$3.00<" in portal.money(Decimal(-3), "USD")
    assert ">KRW 5.00<" in portal.money(5, "KRW")
    assert portal.money(None) == portal.NOTHING


def test_a_card_shows_its_last_four_only() -> None:
    assert portal.card_code("<1AB").endswith("&lt;1AB</span>")


@pytest.mark.django_db
def test_a_stranger_is_told_what_this_is_and_where_to_start(client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert reverse("account_login") in page.text
    assert reverse("account_signup") in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("help@example.com", '<a href="mailto:help@example.com" rel="noreferrer">help@example.com</a>'),
        ("https://example.com/help", '<a href="https://example.com/help" rel="noreferrer">example.com/help</a>'),
        ("+86 400-000-0000", '<a href="tel:+864000000000" rel="noreferrer">+86 400-000-0000</a>'),
        ("微信 example", "</a>微信 example"),
        ("", ""),
    ],
)
def test_whoever_needs_help_reads_where_it_is(client, alice, settings, contact, shown) -> None:
    settings.SUPPORT_CONTACT = contact
    strangers = [client.get(url).text for url in ("/", reverse("account_login"))]
    client.force_login(alice)
    for page in (*strangers, client.get("/").text, client.get(reverse("orders:redeem")).text):
        assert ("Contact us:" in page) is bool(contact)
        assert shown.removeprefix("</a>") in page


def test_no_page_of_an_account_is_a_dead_end(client, alice) -> None:
    assert f'<p class="back"><a href="{reverse("account_login")}">' in client.get("/accounts/password/reset/done/").text
    client.force_login(alice)
    assert f'<p class="back"><a href="{reverse("profile")}">' in client.get(reverse("account_reauthenticate")).text


def test_a_member_may_start_at_home_with_a_post_of_the_code(client, alice) -> None:
    client.force_login(alice)
    page = client.get("/")
    assert f'method="post" action="{reverse("orders:redeem")}"' in page.text
    assert reverse("staff:home") not in page.text


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("staff:batch-list", "staff:batch-list"),
        ("staff:cards-disable", "staff:batch-list"),
        ("staff:batch-add", "staff:batch-add"),
        ("staff-orders:member-invite", "staff-orders:member-list"),
    ],
)
def test_the_menu_marks_where_the_reader_is(client, sam, name, item) -> None:
    client.force_login(sam)
    page = client.get(reverse(name))
    assert f'<a href="{reverse(item)}" aria-current="page">' in page.text
    assert page.text.count('aria-current="page"') == 1


@pytest.mark.parametrize("name", ["staff-orders:service-list", "staff-orders:member-list", "staff-orders:list"])
def test_a_filter_shows_its_fields(client, sam, name) -> None:
    client.force_login(sam)
    page = client.get(reverse(name))
    for field in page.context["form"]:
        assert f'for="{field.id_for_label}"' in page.text


ACCOUNT_PAGES = [
    "profile",
    "ledger",
    "account_email",
    "account_change_password",
    "mfa_index",
    "usersessions_list",
    "socialaccount_connections",
    "account_logout",
]


@pytest.mark.parametrize("name", ACCOUNT_PAGES)
@pytest.mark.parametrize("who", ["alice", "sam"])
def test_account_pages_wear_the_look(client, request, who, name) -> None:
    client.force_login(request.getfixturevalue(who))
    page = client.get(reverse(name))
    assert page.status_code == 200
    assert "portal.css" in page.text
    assert page.text.count("<h1>") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["account_login", "account_signup", "account_reset_password"])
def test_entrance_pages_wear_the_look(client, name) -> None:
    page = client.get(reverse(name))
    assert "portal.css" in page.text
    assert 'class="form-control"' in page.text


def test_the_profile_keeps_language_and_zone(client, alice) -> None:
    client.force_login(alice)
    page = client.post(reverse("profile"), {"language": "zh-hans", "time_zone": "Asia/Tokyo"}, follow=True)
    alice.refresh_from_db()
    assert (alice.language, alice.time_zone) == ("zh-hans", "Asia/Tokyo")
    assert '<html lang="zh-hans"' in page.text


def test_the_profile_outranks_an_earlier_use_of_the_switch(client, alice) -> None:
    client.force_login(alice)
    client.post(reverse("set_language"), {"language": "en"})
    page = client.post(reverse("profile"), {"language": "zh-hans", "time_zone": ""}, follow=True)
    assert '<html lang="zh-hans"' in page.text


def test_the_profile_refuses_a_zone_that_is_none(client, alice) -> None:
    client.force_login(alice)
    page = client.post(reverse("profile"), {"language": "", "time_zone": "Mars/Base"})
    alice.refresh_from_db()
    assert alice.time_zone == ""
    assert 'aria-invalid="true"' in page.text


@pytest.mark.django_db
def test_the_language_switch_is_a_post_that_comes_back(client) -> None:
    answer = client.post(reverse("set_language"), {"language": "zh-hans", "next": "/accounts/login/"})
    assert answer.headers["Location"] == "/accounts/login/"
    assert '<html lang="zh-hans"' in client.get("/accounts/login/").text


@pytest.mark.django_db
def test_a_missing_page_and_a_stale_form_answer_in_the_look(client) -> None:
    assert "portal.css" in client.get("/nothing-here/").text
    strict = client.__class__(enforce_csrf_checks=True)
    stale = strict.post(reverse("account_login"), {"login": "x"})
    assert stale.status_code == 403
    assert "portal.css" in stale.text


def test_the_error_page_needs_no_context() -> None:
    assert "portal.css" in engines["django"].get_template("500.html").render()


def test_a_field_is_wired_for_screen_readers() -> None:
    from accounts.forms import ProfileForm

    shown = render("{% field form.time_zone %}", form=ProfileForm())
    assert '<label class="form-label" for="id_time_zone">' in shown
    assert 'class="form-select"' in shown


def test_staff_who_sign_in_where_only_members_are_served_find_a_page(settings, rf, sam) -> None:
    settings.PORTAL_SURFACE = "members"
    request = rf.get("/")
    request.user = sam
    assert AccountAdapter(request).get_login_redirect_url(request) == reverse("home")


def test_members_and_staff_each_read_their_own_word_for_a_product() -> None:
    with translation.override("zh-hans"):
        assert [str(label) for label in ProductType.labels] == ["云服务器", "虚拟主机", "裸金属"]
        assert [member_type(value) for value in ProductType.values] == ["云服务器", "虚拟主机", "物理机"]
