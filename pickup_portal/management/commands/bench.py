"""Measure the portal on the present database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.command import PortalCommand, table
from pickup_portal import benchmark

CONSENT = "--i-know-it-makes-cards-and-orders"


class Command(PortalCommand):
    help = (
        "Measure the portal on the present database. "
        "`pages` asks for every page of members and staff in this process and fails if one answers neither 200 nor "
        "302; it changes nothing. `redeem` redeems cards of a scratch batch that it makes, beside the bare statements "
        f"a redemption cannot do without; it leaves orders behind, needs {CONSENT} and is refused outside development."
    )
    refusals: ClassVar[tuple[type[Exception], ...]] = (benchmark.CannotMeasure,)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["pages", "redeem"])
        parser.add_argument("-n", type=int, default=None, help="Requests per page (20), or redemptions (200).")
        parser.add_argument(CONSENT, action="store_true", dest="consent")

    def handle(self, *args: Any, **options: Any) -> None:
        self.wrong: list[str] = []
        super().handle(*args, **options)
        if self.wrong:
            raise CommandError(f"Neither 200 nor 302: {', '.join(self.wrong)}.")

    def run(self, *, what: str, n: int | None, consent: bool, **options: Any) -> dict[str, Any]:
        if n is not None and n < 1:
            raise CommandError("-n is at least 1.")
        if what == "pages":
            return self.run_pages(20 if n is None else n)
        if settings.PORTAL_ENV != "development":
            raise CommandError("bench redeem makes cards and orders and is refused outside development.")
        if not consent:
            raise CommandError(f"bench redeem makes cards and orders: say {CONSENT}.")
        return asdict(benchmark.measure_redemptions(200 if n is None else n))

    def run_pages(self, times: int) -> dict[str, Any]:
        results, post_only = benchmark.measure_pages(times)
        self.wrong = [result.page for result in results if result.status not in benchmark.GOOD]
        return {"times": times, "pages": benchmark.as_rows(results), "post_only": post_only}

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        if "pages" not in result:
            yield f"redeem    {result['per_second']:>9} /s   {result['redemptions']} cards of {result['batch']} in turn"
            yield f"bare SQL  {result['raw_per_second']:>9} /s   the same statements alone, one transaction each"
            yield f"ratio     {result['ratio']:>9}"
            return
        yield from table(result["pages"], result["pages"][0])
        yield f"{result['times']} requests each. Not asked for, POST only: {', '.join(result['post_only']) or 'none'}."
