"""Ask every control plane whether it answers, before a member's order depends on it."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

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
    trouble_free = not result["error"] and not result.get("orphans")
    return result | {"ok": trouble_free, "seconds": round(time.monotonic() - started, 3)}


class Command(BaseCommand):
    help = (
        "Connect to each control plane of PROVISIONERS, or only to the named ones, and say what answered. "
        "Creates and removes nothing. Exit code 1 if any of them is in trouble or, with --orphans, has some."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("keys", nargs="*", metavar="KEY", help="keys of PROVISIONERS (default: all)")
        parser.add_argument(
            "--orphans", action="store_true", help="also list the keys of what exists there but no order wants"
        )
        parser.add_argument("--json", action="store_true", help="print JSON for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        results = [check_one(key, orphans=options["orphans"]) for key in options["keys"] or provisioner_keys()]
        if options["json"]:
            self.stdout.write(json.dumps(results, ensure_ascii=False))
        else:
            for result in results:
                self._print(result)
        failed = [result["provisioner"] for result in results if not result["ok"]]
        if failed or not results:
            raise CommandError(f"In trouble: {', '.join(failed)}" if failed else "PROVISIONERS is empty.")

    def _print(self, result: dict[str, Any]) -> None:
        mark = self.style.SUCCESS("ok") if result["ok"] else self.style.ERROR("trouble")
        self.stdout.write(f"{result['provisioner']}: {mark} ({result['seconds']} s)")
        for line in result["report"] + [result["error"]] * bool(result["error"]):
            self.stdout.write(f"  {line}")
        for orphan in result.get("orphans", []):
            self.stdout.write(f"  orphan: {orphan}")
