"""Ask every control plane whether it answers, before a member's order depends on it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from accounts.command import Failed, PortalCommand
from orders.provisioning.base import ProvisionerError
from orders.provisioning.registry import get_provisioner, provisioner_keys
from orders.reconcile import orphans_of


def check_one(key: str, *, orphans: bool) -> dict[str, Any]:
    started = time.monotonic()
    result: dict[str, Any] = {"provisioner": key, "report": [], "error": ""}
    try:
        provisioner = get_provisioner(key)
        result["report"] = provisioner.check()
        if orphans:
            result["orphans"] = [str(orphan) for orphan in orphans_of(provisioner)]
    except (ProvisionerError, ImproperlyConfigured) as trouble:
        result["error"] = str(trouble)
    except Exception as bug:  # an adapter's, whose text may hold anything
        result["error"] = type(bug).__name__
    trouble_free = not result["error"] and not result.get("orphans")
    return result | {"ok": trouble_free, "seconds": round(time.monotonic() - started, 3)}


class Command(PortalCommand):
    help = (
        "Connect to each control plane of PROVISIONERS, or only to the named ones, and say what answered. "
        "Creates and removes nothing. Exit code 1 if any of them is in trouble or, with --orphans, has some."
    )
    needs_fit_settings = False

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("keys", nargs="*", metavar="KEY", help="keys of PROVISIONERS (default: all)")
        parser.add_argument(
            "--orphans", action="store_true", help="also list the keys of what exists there but no order wants"
        )

    def run(self, *, keys: list[str], orphans: bool, **options: Any) -> list[dict[str, Any]]:
        results = [check_one(key, orphans=orphans) for key in keys or provisioner_keys()]
        if not results:
            raise CommandError("PROVISIONERS is empty.")
        if troubled := [result["provisioner"] for result in results if not result["ok"]]:
            raise Failed(f"In trouble: {', '.join(troubled)}", results)
        return results

    def lines(self, result: list[dict[str, Any]]) -> Iterable[str]:
        for one in result:
            yield f"{one['provisioner']}: {'ok' if one['ok'] else 'trouble'} ({one['seconds']} s)"
            yield from (f"  {line}" for line in (*one["report"], one["error"]) if line)
            yield from (f"  orphan: {orphan}" for orphan in one.get("orphans", []))
