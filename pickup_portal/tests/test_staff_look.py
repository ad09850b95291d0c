"""Every staff page in real Chromium, in every state: nothing that axe can see is wrong, nothing is wider than a phone,
no error stands in the console, no policy is violated, and nobody but the portal is asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Error as PlaywrightError

from accounts.tests.factories import PASSWORD, UserFactory
from cards.tests.factories import make_batch
from orders.tests.simulated import plane
from pickup_portal.testing.marks import PATIENCE
from pickup_portal.tests.staff_pages import Visit, empty_visits, furnish, staff_views, visits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

__all__ = ["plane"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.usefixtures("plane")]

PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
ALL = list(product((PHONE, DESKTOP), ("light", "dark")))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Without `preload`: axe would write style elements of its own, and the policy speak up.
AXE = "rules => axe.run(document, {preload: false, resultTypes: ['violations'], runOnly: {type: 'tag', values: rules}})"
STILL = """async () => {
  const frame = () => new Promise(next => requestAnimationFrame(next));
  await frame(); await frame();
  document.getAnimations().forEach(each => { try { each.finish(); } catch { each.cancel(); } });
  await frame();
}"""  # a colour half-way between light and dark is nobody's
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# On a phone a cell's label stands on the left, what it holds on the right: two things would be torn apart.
TORN = """() => [...document.querySelectorAll('td[data-label]')].filter(cell =>
  getComputedStyle(cell).display === 'flex' && [...cell.childNodes].filter(node =>
    node.nodeType === Node.ELEMENT_NODE || node.data?.trim()).length > 1).map(cell => cell.dataset.label)"""
REPORT = "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective));"
EXPECTED = ("status of 422", "status of 404")  # what a form with errors and a missing page answer with
METAL = {
    "metal": {
        "BACKEND": "orders.provisioning.redfish.RedfishProvisioner",
        "OPTIONS": {"portal_url": "https://portal.example"},
    }
}


class Look:
    """One browser, and all that it finds wrong."""

    def __init__(self, page: Page, site: str) -> None:
        self.page, self.site = page, site
        self.at = ""
        self.faults: list[str] = []
        self.pages = self.scans = 0
        self.status = 0
        page.add_init_script(REPORT)
        page.on("request", lambda request: self._asked(request.url))
        page.on("response", self._answered)
        page.on("pageerror", lambda error: self.blame(f"script: {error}"))
        page.on("console", lambda said: self._said(said.text) if said.type == "error" else None)

    def blame(self, fault: str) -> None:
        self.faults.append(f"{self.at}: {fault}")

    def _said(self, text: str) -> None:
        if not any(status in text for status in EXPECTED):
            self.blame(f"console: {text}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme.startswith("http") and not url.startswith(self.site):
            self.blame(f"asks {url}")

    def _answered(self, response: Response) -> None:
        if response.request.is_navigation_request():
            self.status = response.status
        if response.status >= 500:
            self.blame(f"{response.status} at {response.url}")

    def look(self, each: Visit, ways: Any = ALL, *, axe: bool = True) -> None:
        self.at = str(each)
        try:
            self.page.goto(each.path)
            if each.then:
                each.then(self.page)
        except PlaywrightError as error:
            return self.blame(f"cannot be brought about: {str(error).splitlines()[0]}")
        if self.status not in (200, 422) and "not there" not in self.at:
            self.blame(f"answers {self.status}")
        self.look_here(ways, axe=axe)

    def look_here(self, ways: Any = ALL, *, axe: bool = True) -> None:
        page = self.page
        self.pages += 1
        if (count := page.locator("h1").count()) != 1:
            self.blame(f"{count} headings of the first rank")
        if axe:
            page.evaluate(AXE_SCRIPT)
        for size, scheme in ways:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            page.evaluate(STILL)
            how = f"{size['width']} {scheme}"
            if (over := page.evaluate(WIDE)) > 0:
                self.blame(f"{how}: {over} px wider than the screen")
            for label in page.evaluate(TORN):
                self.blame(f"{how}: the cell {label} is torn apart")
            if axe:
                self.scans += 1
                for fault in page.evaluate(AXE, RULES)["violations"]:
                    node = fault["nodes"][0]
                    self.blame(f"{how}: {fault['id']} x{len(fault['nodes'])} {node['target']} {node['html'][:160]}")


@pytest.fixture
def browse(chromium: Browser, live_server: Any) -> Iterator[Any]:
    """`browse("zh-CN")`: a browser of its own for one superuser, who is signed in already."""
    contexts = []

    def start(locale: str) -> tuple[Look, Any]:
        context = chromium.new_context(
            locale=locale,
            viewport=DESKTOP,
            base_url=live_server.url,
            reduced_motion="reduce",
            timezone_id="Asia/Shanghai",
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        look, boss = Look(context.new_page(), live_server.url), UserFactory.create(superuser=True)
        look.at = "signing in"
        look.page.goto("/accounts/login/?next=/staff/cards/")
        look.page.fill("[name=login]", boss.username)
        look.page.fill("[name=password]", PASSWORD)
        look.page.press("[name=password]", "Enter")
        look.page.wait_for_url("**/staff/cards/")
        return look, boss

    yield start
    for context in contexts:
        context.close()


@pytest.mark.heavy
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_every_staff_page(browse: Any, locale: str, settings: Any) -> None:
    settings.PROVISIONERS = settings.PROVISIONERS | METAL
    look, boss = browse(locale)
    for each in empty_visits():
        look.look(each)
    seen = set()
    for each in visits(furnish(boss)):
        look.look(each)
        seen.add(each.view)
    print(f"\n{locale}: {look.pages} pages and states of {len(staff_views())} staff URLs, {look.scans} scans by axe")
    print("\n".join(look.faults))
    assert staff_views() - seen == set()
    assert look.faults == []


LIGHT = {
    "staff:batch-detail used card",
    "staff:batch-add-type cloud_server, errors",
    "staff-orders:dashboard",
    "staff-orders:detail failed",
}


def test_some_staff_pages_on_a_phone_in_the_dark(browse: Any) -> None:
    """One way of looking at a few of them; `make look-staff` looks at all in every way."""
    look, boss = browse("zh-CN")
    for each in visits(furnish(boss)):
        if str(each) in LIGHT:
            look.look(each, [(PHONE, "dark")])
    assert look.faults == []
    assert look.pages == len(LIGHT)


def test_what_is_wrong_is_seen(browse: Any) -> None:
    look, _boss = browse("en-GB")
    look.page.set_content("""<title>x</title><html lang="en"><main><h1>a</h1><h1>b</h1>
        <p style="color: red"><font color="#cccccc">pale</font></p>
        <input><hr width="2000"><table><tr><td data-label="b">c<b>d</b></td></tr></table>
        <script src="https://elsewhere.invalid/x.js"></script></main>""")
    look.page.evaluate("document.querySelector('td').style.display = 'flex'")
    look.look_here([(PHONE, "light")])
    found = "\n".join(look.faults)
    for fault in (
        "2 headings",
        "color-contrast",
        " label ",
        "px wider than the screen",
        "the cell b is torn apart",
        "asks https://elsewhere.invalid/",
    ):
        assert fault in found


# --- The keyboard alone -----------------------------------------------------------------------------------------------
def focused(page: Page, selector: str) -> bool:
    return bool(page.evaluate("selector => document.activeElement.matches(selector)", selector))


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus; it has to be seen to have it."""
    for _press in range(120):
        page.keyboard.press("Tab")
        if focused(page, selector):
            seen = "getComputedStyle(document.activeElement)"
            assert page.evaluate(f"{seen}.outlineStyle !== 'none' || {seen}.boxShadow !== 'none'"), selector
            return
    raise AssertionError(f"{selector} cannot be reached by keyboard")


def enter(page: Page) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_with_the_keyboard_alone(browse: Any) -> None:
    look, boss = browse("en-GB")
    page = look.page
    batch, _codes = make_batch(quantity=6, created_by=boss)
    make_batch(quantity=1, line=batch.line, name="another")
    page.goto("/staff/cards/")
    page.keyboard.press("Tab")
    assert focused(page, ".skip")
    page.keyboard.press("Enter")
    assert focused(page, "#main")
    page.keyboard.press("Shift+Tab")
    assert focused(page, ".user-menu > summary")
    page.keyboard.press("Enter")
    assert page.locator(".user-menu .menu-panel").is_visible()
    page.keyboard.press("Tab")
    assert focused(page, ".menu-panel a")
    page.keyboard.press("Escape")
    assert not page.locator(".user-menu .menu-panel").is_visible()
    assert focused(page, ".user-menu > summary")

    tab_to(page, ".toolbar [name=q]")
    page.keyboard.type(batch.name)
    tab_to(page, ".filter-more > summary")
    page.keyboard.press("Enter")
    tab_to(page, "[name=creator]")
    page.keyboard.type(boss.username)
    enter(page)
    assert page.locator(".table-cards tbody tr").count() == 1
    tab_to(page, ".row-operations a")
    enter(page)
    for serial in (2, 3):
        tab_to(page, f"input[name=serial][value='{serial}']")
        page.keyboard.press("Space")
    tab_to(page, "#selection button[type=submit]")
    enter(page)
    assert "This disables 2 cards. They are worth" in " ".join(page.inner_text("main").split())
    tab_to(page, "main .btn-danger")
    enter(page)
    assert batch.cards.filter(status="disabled").count() == 2

    page.goto(f"/staff/cards/{batch.pk}/disable/")
    tab_to(page, "main .btn-danger")
    enter(page)
    assert "is disabled." in page.inner_text(".messages")
    tab_to(page, ".messages a")
    enter(page)
    tab_to(page, "main .btn-primary")
    enter(page)
    batch.refresh_from_db()
    assert batch.disabled_at is None

    page.goto(f"/staff/cards/{batch.pk}/add/")
    tab_to(page, "[name=reason]")
    enter(page)
    assert focused(page, "[name=count][aria-invalid=true]"), "the reader goes on where something is wrong"
    told = page.get_attribute("[name=count]", "aria-describedby") or ""
    assert "id_count_error" in told.split()
    assert page.locator("#id_count_error").is_visible()

    page.set_viewport_size(PHONE)
    tab_to(page, ".side-toggle > summary")
    page.keyboard.press("Enter")
    tab_to(page, ".side-nav a")
    page.keyboard.press("Escape")
    assert not page.locator(".side-nav").is_visible()
    assert focused(page, ".side-toggle > summary")
    assert look.faults == []
