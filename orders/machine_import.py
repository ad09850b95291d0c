"""Machines from a CSV file: every line is checked by the rules of the page, and all are added or none.

What is wrong is told by line number and column, never by what stands there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables

from accounts.models import User

from .exceptions import MachineError, MachineTaken
from .machine_actions import Login, add_machines
from .machine_forms import MachineForm

REQUIRED = ("server_model", "serial", "url", "system", "address")
OPTIONAL = ("provisioner", "username", "password", "more_addresses", "mac", "note")
ONCE = (("serial",), ("address",), ("url", "system"))  # what no two machines share


@dataclass(frozen=True)
class BadRow:
    line: int
    column: str
    why: str

    def __str__(self) -> str:
        return _("Line %(line)d, %(column)s: %(why)s") % {"line": self.line, "column": self.column, "why": self.why}


class MachinesRefused(MachineError):
    """Nothing was imported. `bad` says why, line by line."""

    def __init__(self, text: str, bad: list[BadRow]) -> None:
        self.bad = bad
        super().__init__(text)

    def __str__(self) -> str:
        return str(self.args[0])


@sensitive_variables()
def import_machines(
    *,
    lines: Iterable[str],
    defaults: dict[str, str],
    actor: User | None = None,
    dry_run: bool = False,
) -> list[str]:
    """The serial numbers of what was added, or would be. `defaults` stand in for columns the file has not.

    Raises MachinesRefused.
    """
    rows, bad, seen = list[tuple[int, dict[str, Any], Login]](), list[BadRow](), dict[tuple[str, ...], int]()
    reader = csv.DictReader((line.lstrip("\ufeff") for line in lines), strict=True)
    try:
        _require_columns(reader.fieldnames or [])
        for row in reader:
            values = defaults | {name: text.strip() for name, text in row.items() if name and text and text.strip()}
            form, line = MachineForm(values), reader.line_num
            if None in row:
                bad.append(BadRow(line, "-", _("more cells than columns.")))
            elif form.is_valid() and (login := form.login()):
                bad += _repeated(form.columns(), line, seen)
                rows.append((line, form.columns(), login))
            else:
                bad += [
                    BadRow(line, name.strip("_"), " ".join(map(str, errors))) for name, errors in form.errors.items()
                ]
    except csv.Error:
        bad.append(BadRow(reader.line_num, "-", _("this is no CSV.")))
    if bad:
        text = ngettext("%(n)d mistake; nothing was imported.", "%(n)d mistakes; nothing was imported.", len(bad)) % {
            "n": len(bad)
        }
        raise MachinesRefused(text, sorted(bad, key=lambda found: found.line))
    if not rows:
        raise MachinesRefused(_("The file holds no machine."), [])
    if not dry_run:
        try:
            add_machines(rows=[(columns, login) for _line, columns, login in rows], actor=actor)
        except MachineTaken as error:
            raise MachinesRefused(str(error), []) from None
    return [str(columns["serial"]) for _line, columns, _login in rows]


def _require_columns(names: Iterable[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in REQUIRED + OPTIONAL]
    bad = [BadRow(1, name, _("this column is missing.")) for name in missing]
    bad += [BadRow(1, name[:40], _("there is no such column.")) for name in unknown]
    if bad:
        raise MachinesRefused(_("The first line names the columns; nothing was imported."), bad)


def _repeated(columns: dict[str, Any], line: int, seen: dict[tuple[str, ...], int]) -> list[BadRow]:
    bad = []
    for names in ONCE:
        first = seen.setdefault((*names, *(columns[name] for name in names)), line)
        if first != line:
            bad.append(BadRow(line, names[0], _("the same as in line %(line)d.") % {"line": first}))
    return bad
