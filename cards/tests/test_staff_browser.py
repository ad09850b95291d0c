"""The staff pages in a real browser: the price follows the typing, the bar follows the generation."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from accounts.tests.factories import PASSWORD, UserFactory
from cards import generation
from cards.choices import AuditAction
from cards.models import AuditEvent, Batch

from .factories import LineFactory, ServerModelFactory, codes_of, make_batch

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def staff_page(page: Page, live_server: Any) -> Page:
    user = UserFactory.create(superuser=True)
    page.goto(f"{live_server.url}/staff/cards/")
    page.fill("[name=login]", user.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/staff/cards/")
    return page


def test_from_the_form_to_the_codes(staff_page: Page, live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from playwright.sync_api import expect

    for name in ("CHUNK_POSTGRES", "CHUNK_SQLITE"):
        monkeypatch.setattr(generation, name, 30)
    first, second = LineFactory.create(name="A line"), LineFactory.create(name="B line")
    ServerModelFactory.create(line=first, name="E3", monthly_price=Decimal(500))
    ServerModelFactory.create(line=second, name="E5", monthly_price=Decimal(800))
    page = staff_page
    page.goto(f"{live_server.url}/staff/cards/add/bare_metal/")
    page.get_by_label("Card name").fill("云服务器-香港")
    page.get_by_label("CPU", exact=True).fill("2 x E5")
    page.get_by_label("Disks").fill("2 x 1 TB")
    page.get_by_label("Line", exact=True).select_option(str(second.pk))
    expect(page.get_by_label("Server model")).to_have_text("E5")
    expect(page.get_by_label("Disks")).to_have_value("2 x 1 TB")
    page.get_by_label("Term (months)").fill("6")
    expect(page.locator("#quote")).to_contain_text("For 6 months")
    expect(page.locator("#quote")).to_contain_text("¥10,800.00")  # (800 + 50 * 20) * 6
    page.get_by_label("Quantity", exact=True).fill("90")
    page.get_by_role("button", name="Generate cards").click()

    batch = Batch.objects.get()
    page.wait_for_url(f"**/staff/cards/{batch.pk}/")
    expect(page.locator("#progress")).to_contain_text("0 of 90 (0%)")
    generation.fill_chunk(batch.pk)
    expect(page.locator("#progress")).to_contain_text("30 of 90 (33%)")
    generation.run_to_end(batch.pk)
    expect(page.locator("#progress")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("Normal")
    expect(page.locator(".table-cards tbody tr")).to_have_count(50)

    page.get_by_role("link", name="Download").click()
    page.get_by_label("Reason").fill("sold")
    page.get_by_label("Your password").fill(PASSWORD)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    expect(page.get_by_role("status").filter(has_text="The file is on its way")).to_be_visible()
    batch.refresh_from_db()
    assert download.value.suggested_filename == f"{batch.number}.txt"
    lines = download.value.path().read_text().split()
    assert len(lines) == 90
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}", line) for line in lines)
    assert AuditEvent.objects.filter(action=AuditAction.DOWNLOAD).count() == 1
    assert [line.replace("-", "") for line in lines] == codes_of(batch)


SEEN = "selector => [...document.querySelectorAll(selector)].filter(each => each.checkVisibility()).length"
SCREEN_ONLY = ".side, .topbar, .page-actions, .toolbar, .row-operations, .btn, .selection, .pick input"


def test_on_paper_the_details_are_a_page_of_their_own(staff_page: Page, live_server: Any) -> None:
    page, (batch, _codes) = staff_page, make_batch(quantity=12, name="香港")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{live_server.url}/staff/cards/{batch.pk}/")
    assert page.evaluate(SEEN, SCREEN_ONLY) > 20, "the control: on the screen all this is there"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(SEEN, SCREEN_ONLY) == 0
    assert page.evaluate(SEEN, "main h1, main .table-cards tbody tr, main .table-cards thead") == 1 + 12 + 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = page.pdf(format="A4", prefer_css_page_size=False)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
