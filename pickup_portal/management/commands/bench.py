"""Measure the portal on the present database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.command import Failed, PortalCommand
from pickup_portal.bench import export, generate, lists, orders, pages, redeem, scale
from pickup_portal.bench.scratch import CannotMeasure

CONSENT = "--i-know-it-makes-cards-and-orders"


@dataclass(frozen=True)
class Scenario:
    help: str
    run: Callable[[int], dict[str, Any]]
    lines: Callable[[dict[str, Any]], Iterable[str]]
    default: int
    unit: str
    changes_nothing: bool = False


SCENARIOS = {
    "pages": Scenario(
        "asks for every page of members and staff in this process and fails if one answers neither 200 nor 302; it "
        "changes nothing",
        pages.run,
        pages.lines,
        20,
        "requests per page",
        changes_nothing=True,
    ),
    "redeem": Scenario(
        "confirms cards of a scratch batch over HTTP, through a gunicorn of its own, beside a bare Django view",
        lambda n: asdict(redeem.measure_redemptions(n)),
        redeem.lines,
        1600,
        "redemptions",
    ),
    "export": Scenario(
        "downloads a scratch batch over HTTP, beside COPY of the same codes in plain text by a bare client",
        lambda n: asdict(export.measure_export(n)),
        export.lines,
        1_000_000,
        "codes",
    ),
    "generate": Scenario(
        "makes a batch through a running worker, beside COPY of as many rows by a bare client",
        lambda n: asdict(generate.measure_generation(n)),
        generate.lines,
        1_000_000,
        "cards",
    ),
    "orders": Scenario(
        "opens orders through Celery workers of its own, beside as many tasks that do nothing",
        orders.measure_orders,
        orders.lines,
        1000,
        "orders",
    ),
    "scale": Scenario(
        "measures every page and the lists' filters and searches, fills the database with years of use (100 cards to a "
        "batch, a fifth of them used), and measures again; for a scratch database that holds the demo",
        scale.run,
        scale.lines,
        1_000_000,
        "cards",
    ),
    "lists": Scenario(
        "makes batches of 10,000 cards and compares the staff's lists before and after; for a scratch database",
        lists.run,
        lists.lines,
        1_000_000,
        "cards",
    ),
}


class Command(PortalCommand):
    help = (
        "Measure the portal on the present database. "
        + " ".join(f"`{name}` {scenario.help}." for name, scenario in SCENARIOS.items())
        + f" All but `pages` leave cards or orders behind, need {CONSENT} and are refused outside development."
    )
    refusals: ClassVar[tuple[type[Exception], ...]] = (CannotMeasure,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=list(SCENARIOS))
        defaults = ", ".join(f"{scenario.unit} ({scenario.default})" for scenario in SCENARIOS.values())
        parser.add_argument("-n", type=int, default=None, help=f"How many: {defaults}.")
        parser.add_argument(CONSENT, action="store_true", dest="consent")

    def run(self, *, what: str, n: int | None, consent: bool, **options: Any) -> dict[str, Any]:
        self.scenario = SCENARIOS[what]
        if n is not None and n < 1:
            raise CommandError("-n is at least 1.")
        if not self.scenario.changes_nothing:
            if settings.PORTAL_ENV != "development":
                raise CommandError(f"bench {what} makes cards or orders and is refused outside development.")
            if not consent:
                raise CommandError(f"bench {what} makes cards or orders: say {CONSENT}.")
        result = self.scenario.run(self.scenario.default if n is None else n)
        if what in ("pages", "scale") and (wrong := pages.wrong(result)):
            raise Failed(f"Neither 200 nor 302: {', '.join(wrong)}.", result)
        return result

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        return self.scenario.lines(result)
