"""The member's whole way in real browsers: phone and desktop, Chinese and English, keyboard alone, no JavaScript;
every member page without a fault that axe can see, light enough, and asking nobody but the portal itself."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.staticfiles import finders

from accounts.actions import balance_of
from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards.choices import ProductType, WindowsPolicy
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders import fulfilment
from orders.models import Order, Service
from orders.tests.cast import place_order
from orders.tests.simulated import plane
from pickup_portal.testing.marks import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["plane"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.usefixtures("plane")]

BUDGET = 150_000  # bytes, compressed, of a first visit
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@dataclass
class Watch:
    """What one browser asked for and complained of."""

    site: str
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    assets: set[str] = field(default_factory=set)

    def on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme.startswith("http") and not url.startswith(self.site):
            self.elsewhere.append(url)
        if parts.path.startswith("/static/"):
            self.assets.add(parts.path.removeprefix("/static/"))

    def weight_of_assets(self) -> int:
        """Compressed, as production serves them."""
        return sum(len(gzip.compress(Path(str(finders.find(name))).read_bytes())) for name in self.assets)


@pytest.fixture
def open_page(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """`open_page(PHONE, "zh-CN")`: a browser of its own; what it complains of or asks elsewhere fails the test."""
    opened: list[tuple[Any, Watch]] = []

    def start(size: Any, locale: str, scheme: str = "light", javascript: bool = True) -> Page:
        context = chromium.new_context(
            locale=locale, viewport=size, color_scheme=scheme, java_script_enabled=javascript, base_url=live_server.url
        )
        context.set_default_timeout(PATIENCE)
        page, watch = context.new_page(), Watch(live_server.url)
        page.on("request", lambda request: watch.on_request(request.url))
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        page.on("console", lambda said: watch.complaints.append(said.text) if said.type == "error" else None)
        page.watch = watch  # type: ignore[attr-defined]
        opened.append((context, watch))
        return page

    yield start
    for context, watch in opened:
        context.close()
        assert watch.elsewhere == []
        assert watch.complaints == []


def sign_in(page: Page, member: User) -> None:
    page.goto("/accounts/login/")
    page.fill("[name=login]", member.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("/")


def windows_card(windows_policy: str = WindowsPolicy.MEMBER_PAYS) -> str:
    """A cloud server's code on a line where Windows costs 360 more."""
    line = LineFactory.create(windows_monthly_price=Decimal(30))
    ImageFactory.create(line=line)
    ImageFactory.create(line=line, operating_system__windows=True)
    return make_batch(line=line, quantity=1, windows_policy=windows_policy)[1][0]


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, as somebody without a mouse does."""
    for _press in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            shadow = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
            assert outline != "none" or shadow != "none", f"{selector}: the focus cannot be seen"
            return
    raise AssertionError(f"{selector} cannot be reached by keyboard")


# --- The whole way ----------------------------------------------------------------------------------------------------
def test_with_the_keyboard_alone(open_page: Callable[..., Page]) -> None:
    code, member = windows_card(), UserFactory.create(balance="400")
    page = open_page(DESKTOP, "en-GB")
    page.goto("/cards/redeem/")
    page.keyboard.type(member.username)
    tab_to(page, "[name=password]")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("/cards/redeem/")
    page.keyboard.type(code.lower())
    page.keyboard.press("Enter")
    page.wait_for_selector("#sum")
    tab_to(page, "input[name=image]")
    page.keyboard.press("Space")
    assert "Nothing: the card pays for it." in page.inner_text("#sum")
    page.keyboard.press("ArrowDown")
    summary = page.inner_text("#sum")
    assert "Windows Server 2022" in summary
    assert "¥360.00 from your balance" in summary
    tab_to(page, ".offer-actions button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/orders/*/")
    page.wait_for_selector("text=It usually opens within")
    fulfilment.run(Order.objects.get().pk)
    page.wait_for_selector("text=Your product is open.")
    assert balance_of(member) == 40
    tab_to(page, "#access button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#access >> text=Password")
    tab_to(page, "#order-live a[href*='/services/']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/services/*/")


def test_without_javascript_on_a_phone_in_chinese(open_page: Callable[..., Page]) -> None:
    code, member = windows_card(), UserFactory.create(balance="400")
    page = open_page(PHONE, "zh-CN", javascript=False)
    sign_in(page, member)
    page.goto("/cards/redeem/")
    page.fill("[name=code]", code[:7] + "U" + code[8:])
    page.click("text=下一步")
    assert "第 2 组" in page.inner_text("[role=alert]")
    page.fill("[name=code]", " ".join(re.findall(".....", code.lower())))
    page.click("text=下一步")
    page.get_by_label("Windows Server 2022").check()
    page.click("text=确认开通")
    assert "¥360.00" in page.inner_text("#sum")
    assert Order.objects.count() == 0
    page.click("text=确认开通")
    page.wait_for_url("**/orders/*/")
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    fulfilment.run(Order.objects.get().pk)
    page.reload()
    assert page.get_by_text("产品已开通").is_visible()
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    page.click("text=显示访问信息")
    assert page.get_by_text("密码", exact=True).is_visible()
    assert "/access/" in page.url


def test_what_is_refused_on_a_phone_stands_where_the_reader_looks(open_page: Callable[..., Page]) -> None:
    code, member = windows_card(), UserFactory.create()
    page = open_page(PHONE, "zh-CN")
    sign_in(page, member)
    page.goto(f"/cards/redeem/#{code}")
    page.keyboard.press("Enter")
    page.get_by_label("Windows Server 2022").check()
    page.locator("summary").last.click()
    page.fill("[name=hostname]", "web-1")
    page.click("text=确认开通")
    page.wait_for_selector("#image_error >> text=余额不足，还差 ¥360.00")
    top = "document.activeElement.id === 'image_error' && document.activeElement.getBoundingClientRect().top"
    assert 0 < page.evaluate(top) < PHONE["height"] - 100
    page.get_by_label("Debian 12").check()
    page.fill("[name=hostname]", "-web")
    page.fill("[name=ssh_key]", "hello")
    page.click("text=确认开通")
    page.wait_for_selector("#id_ssh_key_error >> text=SSH 公钥")
    assert "主机名" in page.inner_text("#id_hostname_error")
    assert page.evaluate("document.activeElement.name") == "hostname"
    assert Order.objects.count() == 0


def test_staff_see_whose_money_they_spend_once_a_system_costs_some(open_page: Callable[..., Page]) -> None:
    code, member, staff = windows_card(), UserFactory.create(balance="400"), UserFactory.create(superuser=True)
    page = open_page(PHONE, "zh-CN")
    page.goto("/accounts/login/?next=/staff/orders/redeem/")
    page.fill("[name=login]", staff.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.fill("[name=member]", member.username)
    page.fill("[name=note]", "电话委托")
    page.fill("[name=code]", code)
    page.press("[name=code]", "Enter")
    page.wait_for_selector("#sum")
    assert page.locator("[data-proof]").is_hidden()
    page.get_by_label("Windows Server 2022").check()
    assert page.get_by_text(f"您将使用 {member.username} 的余额").is_visible()
    assert f"¥360.00 （从 {member.username} 的余额支付，当前余额 ¥400.00）" in page.inner_text("#sum")
    page.get_by_label("Debian 12").check()
    assert page.locator("[data-proof]").is_hidden()
    page.get_by_label("Windows Server 2022").check()
    page.fill("[name=proof-password]", "wrong")
    page.click(".offer-actions button")
    page.wait_for_selector("[data-proof] .field-errors >> text=密码不正确。")
    assert page.evaluate("document.activeElement.name") == "proof-password"
    faults: list[str] = []
    look_at(page, None, faults)
    assert faults == []
    assert balance_of(member) == 400
    page.fill("[name=proof-password]", PASSWORD)
    page.click(".offer-actions button")
    page.wait_for_url("**/staff/orders/*-*/")
    assert balance_of(member) == 40


def test_a_site_on_a_phone_opens_at_once_and_takes_its_domain_later(open_page: Callable[..., Page]) -> None:
    _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
    page = open_page(PHONE, "zh-CN", "dark")
    sign_in(page, UserFactory.create())
    page.goto(f"/cards/redeem/#{code}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sum")
    assert page.locator("input[type=radio]").count() == 0
    page.click("text=确认开通")
    page.wait_for_url("**/orders/*/")
    fulfilment.run(Order.objects.get().pk)
    page.wait_for_selector("text=产品已开通")
    page.goto("/services/")
    page.click("main td a")
    page.click("text=使用自己的域名")
    page.fill("[name=domain]", "提货.example.com")
    page.click("text=保存")
    page.wait_for_selector("text=正在设置域名")
    assert Order.objects.get().domain == "xn--o0u333g.example.com"


# --- Every page: seen by axe, weighed, and in one width ---------------------------------------------------------------
@pytest.fixture
def settled(db: None) -> User:
    """A member who has been here for a while."""
    member = UserFactory.create(balance="1000", external_id="2305")
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=3)
    orders = [place_order(code=code, member=member) for code in codes]
    for order in orders[:2]:
        fulfilment.run(order.pk)
    return member


def pages_of(member: User) -> list[str]:
    waiting = Order.objects.get(member=member, state="pending").number
    service = Service.objects.filter(member=member)[0].order.number
    return [
        "/", "/cards/", "/cards/redeem/", "/orders/", f"/orders/{waiting}/", f"/orders/{service}/",
        "/services/", f"/services/{service}/", f"/services/{service}/domain/", "/accounts/balance/",
        "/accounts/profile/", "/accounts/sessions/", "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/",
        "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/", "/accounts/reauthenticate/",
    ]  # fmt: skip


STRANGERS = ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/no-such-page/"]


@pytest.mark.parametrize(
    ("size", "locale", "scheme"),
    [
        (PHONE, "zh-CN", "dark"),
        *(
            pytest.param(size, locale, scheme, marks=pytest.mark.heavy)
            for size, locale, scheme in product((PHONE, DESKTOP), ("zh-CN", "en-GB"), ("light", "dark"))
            if (size, locale, scheme) != (PHONE, "zh-CN", "dark")
        ),
    ],
)
def test_every_page(
    open_page: Callable[..., Page], settled: User, size: dict[str, int], locale: str, scheme: str
) -> None:
    page = open_page(size, locale, scheme)
    watch = page.watch  # type: ignore[attr-defined]
    faults: list[str] = []
    weights = [look_at(page, path, faults) for path in STRANGERS]
    sign_in(page, settled)
    weights += [look_at(page, path, faults) for path in pages_of(settled)]
    page.goto("/cards/redeem/")
    page.fill("[name=code]", windows_card())
    page.press("[name=code]", "Enter")
    page.wait_for_selector("#sum")
    page.locator("summary").last.click()
    weights.append(look_at(page, None, faults))
    watch.complaints = [text for text in watch.complaints if "404" not in text]  # the page that is not there
    assert faults == []
    assets, heaviest = watch.weight_of_assets(), max(weights)
    print(f"\n{len(weights)} pages; all assets {assets:,} + heaviest page {heaviest:,} bytes, compressed")
    assert 20_000 < assets + heaviest < BUDGET


def look_at(page: Page, path: str | None, faults: list[str]) -> int:
    """Add what is wrong with the page to `faults`; returns its weight in bytes, compressed."""
    if path:
        page.goto(path)
    where = f"{path or 'the offer'}: "
    result = Axe().run(page)
    faults += [f"{where}{fault['id']} {fault['nodes'][0]['html'][:120]}" for fault in result.response["violations"]]
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        faults.append(where + "wider than the screen")
    if page.locator("h1").count() != 1:
        faults.append(where + f"{page.locator('h1').count()} headings of the first rank")
    return len(gzip.compress(page.content().encode()))


def test_what_would_be_asked_of_another_site_is_seen(open_page: Callable[..., Page], live_server: Any) -> None:
    """The other tests fail on `watch.elsewhere`: here it is filled on purpose, past the page's own policy."""
    page = open_page(PHONE, "en-GB")
    page.route("**/fonts.css", lambda route: route.fulfill(body=""))
    page.goto("/")
    watch = page.watch  # type: ignore[attr-defined]
    assert watch.elsewhere == []
    page.evaluate("() => { location.href = 'http://cdn.example/fonts.css' }")
    page.wait_for_url("**/fonts.css")
    assert watch.elsewhere == ["http://cdn.example/fonts.css"]
    assert 5_000 < watch.weight_of_assets() < BUDGET
    watch.elsewhere.clear()
