"""The member's pages in a real browser: a scanned code survives the sign-in, and nothing keeps it after that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from accounts.tests.factories import PASSWORD, UserFactory

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CODE = "ABCDE-FGH12-JKMNP-QRSTV-WXYZ3"


def test_a_scanned_code_waits_for_the_sign_in(page: Page, live_server: Any) -> None:
    member = UserFactory.create()
    page.goto(f"{live_server.url}/cards/redeem/#{CODE.replace('-', '').lower()}")
    assert "#" not in page.url
    page.fill("[name=login]", member.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/cards/redeem/")
    assert page.input_value("[name=code]") == CODE
    assert CODE not in page.evaluate("JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + location.href")
    page.reload()
    assert page.input_value("[name=code]") == ""
