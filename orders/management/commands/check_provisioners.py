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


def check_one(key: str) -> dict[str, Any]:
    started = time.monotonic()
    try:
        report, error = get_provisioner(key).check(), ""
    except (ProvisionerError, ImproperlyConfigured) as trouble:
        report, error = [], str(trouble)
    return {
        "provisioner": key,
        "ok": not error,
        "report": report,
        "error": error,
        "seconds": round(time.monotonic() - started, 3),
    }


class Command(BaseCommand):
    help = (
        "Connect to each control plane of PROVISIONERS, or only to the named ones, and say what answered. "
        "Creates nothing. Exit code 1 if any of them is in trouble."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("keys", nargs="*", metavar="KEY", help="keys of PROVISIONERS (default: all)")
        parser.add_argument("--json", action="store_true", help="print JSON for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        results = [check_one(key) for key in options["keys"] or provisioner_keys()]
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
        for line in result["report"] or [result["error"]]:
            self.stdout.write(f"  {line}")
