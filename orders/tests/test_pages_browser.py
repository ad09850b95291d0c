"""The code field in a real browser: what it does while typing, what it holds back, and that nothing keeps a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from accounts.tests.factories import PASSWORD, UserFactory
from cards import codes
from cards.choices import ProductType
from cards.models import CodeForm
from cards.tests.factories import make_batch
from orders.models import Order

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def sign_in(page: Page, url: str) -> None:
    member = UserFactory.create()
    page.goto(url)
    page.fill("[name=login]", member.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/cards/redeem/")


@pytest.fixture
def field(page: Page, live_server: Any) -> Page:
    """The redemption page, signed in, the cursor in the field; `page.posts` collects what is sent."""
    sign_in(page, f"{live_server.url}/cards/redeem/")
    page.posts = []  # type: ignore[attr-defined]
    page.on("request", lambda request: request.method == "POST" and page.posts.append(request.url))  # type: ignore[attr-defined]
    page.focus("[name=code]")
    return page


def said(page: Page) -> str:
    box = page.locator("#id_code_error")
    return box.inner_text().strip() if box.is_visible() else ""


def selected(page: Page) -> str:
    return str(page.evaluate("(i => i.value.slice(i.selectionStart, i.selectionEnd))(document.activeElement)"))


def test_a_scanned_code_waits_for_the_sign_in(page: Page, live_server: Any) -> None:
    code = codes.group(codes.make(1)[0])
    page.goto(f"{live_server.url}/cards/redeem/#{code.replace('-', '').lower()}")
    assert "#" not in page.url
    sign_in_here = page.url
    sign_in(page, sign_in_here)
    assert page.input_value("[name=code]") == code
    assert code not in page.evaluate("JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + location.href")
    page.reload()
    assert page.input_value("[name=code]") == ""


def test_a_scanned_imported_code_waits_too_and_what_is_no_code_does_not(page: Page, live_server: Any) -> None:
    CodeForm.objects.create(length=16, symbols="0123456789ABCDEF")
    page.goto(f"{live_server.url}/cards/redeem/#0123-4567-89ab-cdef")
    assert "#" not in page.url
    sign_in(page, page.url)
    assert page.input_value("[name=code]") == "01234-56789-ABCDE-F"
    for fragment, filled in (
        ("FEDC%20BA98%207654%203210", "FEDCB-A9876-54321-0"),
        ("0123456789ABCDE", ""),
        ("main", ""),
    ):
        page.goto("about:blank")
        page.goto(f"{live_server.url}/cards/redeem/#{fragment}")
        assert page.input_value("[name=code]") == filled
        assert ("#" in page.url) == (not filled)


def test_it_groups_while_typing_and_mends_where_the_cursor_is(field: Page) -> None:
    field.keyboard.type("abcdefghjk")
    assert field.input_value("[name=code]") == "ABCDE-FGHJK"
    for _symbol in range(6):
        field.keyboard.press("Backspace")
    assert field.input_value("[name=code]") == "ABCD"
    field.keyboard.type("efg")
    field.keyboard.press("Home")
    field.keyboard.type("1")
    assert field.input_value("[name=code]") == "1ABCD-EFG"
    for _symbol in range(4):
        field.keyboard.press("ArrowRight")
    field.keyboard.press("Delete")
    assert field.input_value("[name=code]") == "1ABCD-FG"
    assert said(field) == ""


@pytest.mark.parametrize("kind", ["full width", "pasted with noise", "look-alikes"])
def test_any_spelling_is_taken_without_a_word(field: Page, kind: str) -> None:
    code = codes.make(1)[0]
    spelling = {
        "full width": "".join(chr(ord(symbol) + 0xFEE0) for symbol in code),
        "pasted with noise": "\u200b " + " – ".join(code[n : n + 5] for n in range(0, 25, 5)).lower() + "\n",
        "look-alikes": code.lower().replace("0", "o").replace("1", "l"),
    }[kind]
    field.evaluate("text => document.execCommand('insertText', false, text)", spelling)
    assert said(field) == ""
    field.keyboard.press("Enter")
    field.locator("#id_code_error", has_text="do not know this code").wait_for()
    assert len(field.posts) == 1  # type: ignore[attr-defined]


def test_a_symbol_that_no_code_has_is_said_at_once_and_its_group_pointed_at(field: Page) -> None:
    field.keyboard.type("ABCDE-FGU")
    assert "Group 2 holds a character" in said(field)
    field.keyboard.type("HJ-KMNPQ-RSTVW-XYZ01")
    field.keyboard.press("Enter")
    assert selected(field) == "FGUHJ"
    assert field.posts == []  # type: ignore[attr-defined]
    field.keyboard.type("FGHJK")
    assert "Group" not in said(field)


def test_a_slip_is_said_before_anything_is_sent_and_insisting_sends_it(field: Page) -> None:
    code = codes.make(1)[0]
    swapped = next(code[:n] + code[n + 1] + code[n] + code[n + 2 :] for n in range(24) if code[n] != code[n + 1])
    for typed, says in (("", "Please enter the code"), (code[:24], "25 characters"), (swapped, "typing mistake")):
        field.fill("[name=code]", typed)
        field.keyboard.press("Enter")
        assert says in said(field)
    assert field.posts == []  # type: ignore[attr-defined]
    with field.expect_navigation():
        field.keyboard.press("Enter")
    assert len(field.posts) == 1  # type: ignore[attr-defined]
    assert "typing mistake" in said(field)
    field.fill("[name=code]", code)
    assert said(field) == ""


def test_the_browser_and_the_server_find_the_same_slips(field: Page) -> None:
    """Every position of a code, wrong and right: the sum in code.js is the one of cards/codes.py."""
    code = codes.make(1)[0]
    for place in range(0, 25, 3):
        wrong = code[:place] + codes.ALPHABET[(codes.ALPHABET.index(code[place]) + 1) % 32] + code[place + 1 :]
        field.fill("[name=code]", wrong)
        assert "typing mistake" in said(field)
        field.fill("[name=code]", code)
        assert said(field) == ""


def test_an_imported_code_is_no_slip(page: Page, live_server: Any) -> None:
    CodeForm.objects.create(length=16, symbols="0123456789U")
    sign_in(page, f"{live_server.url}/cards/redeem/")
    page.focus("[name=code]")
    for text in ("12U4", "12U4567890123456"):
        page.fill("[name=code]", "")
        page.keyboard.type(text)
        assert said(page) == ""
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "We do not know this code" in said(page)
    page.fill("[name=code]", "12U45678901234567")
    assert "Group 1" in said(page)


def test_a_double_click_is_one_order_and_the_way_back_from_it_leads_to_the_field(field: Page) -> None:
    """Without the offer's own care the browser shows a page of errors: it would have to post the code again."""
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    field.fill("[name=code]", code)
    field.press("[name=code]", "Enter")
    field.wait_for_selector("#sum")
    field.dblclick(".offer-actions button")
    field.wait_for_url("**/orders/*/")
    order = field.url
    field.go_back()
    field.wait_for_url("**/cards/redeem/")
    assert field.input_value("[name=code]") == ""
    assert code not in field.content()
    field.fill("[name=code]", code)
    field.press("[name=code]", "Enter")
    field.wait_for_url(order)
    assert field.locator("[role=status], .alert").first.is_visible()
    assert Order.objects.count() == 1
