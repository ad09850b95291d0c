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
from orders.tests.simulated import plane
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
REPORT = "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective));"
EXPECTED = ("status of 422", "status of 404")  # what a form with errors and a missing page answer with


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
        context.set_default_timeout(30_000)
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
def test_every_staff_page(browse: Any, locale: str) -> None:
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
