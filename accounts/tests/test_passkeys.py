"""A passkey, made and used in a real browser with an authenticator of its own: no password is typed the second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator

from .factories import PASSWORD, UserFactory

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def test_a_member_makes_a_passkey_and_signs_in_with_it_until_it_is_removed(page: Page, live_server: Any) -> None:
    member = UserFactory.create(email="li@example.com")
    EmailAddress.objects.create(user=member, email=member.email, verified=True, primary=True)
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    page.goto(f"{live_server.url}/accounts/login/?next=/accounts/2fa/webauthn/add/")
    page.fill("[name=login]", member.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/reauthenticate/**")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/webauthn/add/")
    page.fill("[name=name]", "laptop")
    page.check("[name=passwordless]")
    page.click("#mfa_webauthn_add")
    page.wait_for_url(lambda url: "/add/" not in url)
    assert Authenticator.objects.filter(user=member, type="webauthn").count() == 1

    page.context.clear_cookies()
    page.goto(f"{live_server.url}/accounts/login/?next=/accounts/balance/")
    page.click("#passkey_login")
    page.wait_for_url(f"{live_server.url}/accounts/balance/")
    assert member.username in page.inner_text("header")

    Authenticator.objects.filter(user=member, type="webauthn").delete()  # a device that was lost is removed
    page.context.clear_cookies()
    page.goto(f"{live_server.url}/accounts/login/?next=/accounts/balance/")
    with page.expect_response(lambda response: response.request.method == "POST") as answer:
        page.click("#passkey_login")
    page.goto(f"{live_server.url}/accounts/balance/")
    assert answer.value.status != 500
    assert "/accounts/login/" in page.url
