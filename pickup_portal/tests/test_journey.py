"""The main job in a real browser, against real web and worker processes: a batch is made, a card is picked up,
a product opens, and the card is void."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards.choices import CardStatus, ProductType
from cards.models import Batch, Card
from cards.tests.factories import ImageFactory, LineFactory, ServerModelFactory
from orders.choices import OrderState
from orders.models import Order
from orders.provisioning.simulator import Simulator
from orders.tests.race import start_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@pytest.fixture
def site(start_process: Callable[..., object], celery_worker_process: object) -> str:
    return f"http://127.0.0.1:{start_web(start_process, 'pickup_portal.wsgi', workers=2, threads=4)}"


@pytest.fixture
def someone_else(chromium: Browser) -> Callable[[], Page]:
    return lambda: chromium.new_context(locale="en-GB").new_page()


def sign_in(page: Page, site: str, user: User, then: str) -> None:
    page.goto(f"{site}/accounts/login/?next={then}")
    page.fill("input[name=login]", user.username)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button[type=submit], main form button.btn-primary")
    page.wait_for_url(f"{site}{then}")


def make_batch_by_hand(page: Page, site: str, product_type: str) -> Batch:
    page.goto(f"{site}/staff/cards/add/{product_type}/")
    page.fill("input[name=name]", "提货卡-香港")
    page.fill("input[name=quantity]", "100")
    if product_type == ProductType.BARE_METAL:
        page.fill("input[name=cpu]", "2 x Intel Xeon E5-2680 v4")
        page.fill("input[name=disks]", "2 x 960 GB SSD")
    page.click("text=Generate cards")
    page.wait_for_url("**/staff/cards/*/")
    page.wait_for_selector("text=Normal")
    return Batch.objects.latest("pk")


def download_codes(page: Page, site: str, batch: Batch) -> list[str]:
    page.goto(f"{site}/staff/cards/{batch.pk}/download/")
    page.fill("[name=reason]", "for the customer")
    page.fill("input[name=password]", PASSWORD)
    with page.expect_download() as download:
        page.click("main button[type=submit]")
    return Path(download.value.path()).read_text().split()


def redeem_by_hand(page: Page, site: str, code: str) -> None:
    page.goto(f"{site}/cards/redeem/")
    page.fill("input[name=code]", code)
    page.click("text=Continue")


def test_from_batch_to_open_product(page: Page, someone_else: Callable[[], Page], site: str) -> None:
    """One portal serves all three types; while one product is being opened the next batch is made."""
    line = LineFactory.create()
    ImageFactory.create(line=line)
    ServerModelFactory.create(line=line)
    sign_in(page, site, UserFactory.create(superuser=True), "/staff/cards/")
    other = someone_else()
    sign_in(other, site, UserFactory.create(), "/cards/redeem/")
    journeys = []
    for product_type in ProductType.values:
        # staff make the batch, watch it become ready, download the codes
        codes = download_codes(page, site, make_batch_by_hand(page, site, product_type))
        assert len(codes) == 100
        assert len(set(codes)) == 100
        member, theirs = UserFactory.create(), someone_else()
        sign_in(theirs, site, member, "/cards/redeem/")
        journeys.append((codes[0], member, theirs, pick_up(theirs, site, codes[0], product_type)))
    for code, member, theirs, order in journeys:
        see_it_open(theirs, order)
        the_card_is_void(theirs, other, site, code, order)
        page.goto(f"{site}/staff/cards/usage/")
        assert page.get_by_text(member.member_id, exact=True).first.is_visible()


def pick_up(theirs: Page, site: str, code: str, product_type: str) -> Order:
    """The member types the code carelessly, chooses, confirms."""
    redeem_by_hand(theirs, site, code.lower().replace("-", " ").replace("0", "o").replace("1", "l"))
    if product_type == ProductType.VIRTUAL_HOST:
        assert theirs.locator("input[name=image]").count() == 0
    else:
        theirs.get_by_label("Debian 12").check()
    theirs.click("text=Confirm and open")
    theirs.wait_for_url("**/orders/*/")
    return Order.objects.get(product_type=product_type)


def see_it_open(theirs: Page, order: Order) -> None:
    theirs.wait_for_selector("text=Your product is open.", timeout=240_000)
    order.refresh_from_db()
    assert order.state == OrderState.ACTIVE
    took = (order.opened_at - order.created_at).total_seconds()
    print(f"\n{order.product_type}: open {took:.1f} s after confirm")
    assert len(Simulator().resources(key=order.key)) == 1
    theirs.click("text=Show access details")
    theirs.wait_for_selector("text=Password")


def the_card_is_void(theirs: Page, other: Page, site: str, code: str, order: Order) -> None:
    """For him and for others; his list has it."""
    assert Card.objects.get(order=order).status == CardStatus.USED
    theirs.goto(f"{site}/cards/")
    assert theirs.get_by_text(code[-4:]).first.is_visible()
    assert theirs.locator(f"a[href='/orders/{order.number}/']").first.is_visible()
    redeem_by_hand(theirs, site, code)
    theirs.wait_for_url(f"**/orders/{order.number}/")
    redeem_by_hand(other, site, code)
    assert "This card was used on" in other.get_by_role("alert").first.inner_text()
