"""Add machines to the inventory from a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from accounts.command import Failed, staff_named
from cards.command import lines_of
from orders.command import OrderCommand
from orders.machine_import import OPTIONAL, REQUIRED, MachinesRefused, import_machines

SHOWN = 100


class Command(OrderCommand):
    help = (
        "Add bare-metal machines to the portal's inventory, for provisioners without a control plane. FILE is CSV with "
        f"a first line of column names; required: {' '.join(REQUIRED)}; optional: {' '.join(OPTIONAL)}. Where user "
        "name or password of the controllers do not stand in the file, they are taken from MACHINE_USERNAME and "
        "MACHINE_PASSWORD in the environment. All lines are added or none; what is wrong is told by line number."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="CSV file in UTF-8; - for standard input.")
        parser.add_argument("--provisioner", default="", help="For lines that name none: a key of PROVISIONERS.")
        parser.add_argument("--actor", help="Login of the member of staff who adds them.")
        parser.add_argument("--dry-run", action="store_true", help="Only check; add nothing.")

    def run(self, *, file: str, provisioner: str, actor: str | None, dry_run: bool, **options: Any) -> dict[str, Any]:
        defaults = {
            "provisioner": provisioner,
            "username": os.environ.get("MACHINE_USERNAME", ""),
            "password": os.environ.get("MACHINE_PASSWORD", ""),
        }
        try:
            serials = import_machines(
                lines=lines_of(file), defaults=defaults, actor=staff_named(actor) if actor else None, dry_run=dry_run
            )
        except MachinesRefused as refusal:
            bad = [{"line": one.line, "column": one.column, "text": str(one)} for one in refusal.bad]
            raise Failed(str(refusal), {"machines": 0, "serials": [], "bad_lines": bad}) from None
        return {"machines": len(serials), "serials": serials, "bad_lines": []}

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        for bad in result["bad_lines"][:SHOWN]:
            yield bad["text"]
        if len(result["bad_lines"]) > SHOWN:
            yield f"... and {len(result['bad_lines']) - SHOWN} more"
        yield f"{result['machines']} machines."
