"""What every management command of the portal shares: `--json`, refusals as exit code 1, codes from standard input."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import pwd
import sys
import unicodedata
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import date, datetime
from typing import Any, ClassVar

from django.core.checks import Tags, run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError
from django.utils import timezone

from .exceptions import AccountError
from .models import User
from .search import user_named

# "disable_card (root)": the command that runs in this process, and whose account of the machine runs it. Whoever has a
# shell may name any colleague as --actor; what he does there is noted beside that name (cards.audit).
under_way: ContextVar[str] = ContextVar("command_under_way", default="")


class Failed(Exception):
    """Raised by a command's `run`: `result` is shown all the same, then the command fails with this text."""

    def __init__(self, text: str, result: Any) -> None:
        self.result = result
        super().__init__(text)


class PortalCommand(BaseCommand):
    """A command that does one thing with `run` and shows what it returned: `lines` for people, `--json` for machines.

    Exceptions named in `refusals` carry messages fit for people: they are printed and the exit code is 1. Like web and
    worker it does nothing on unfit settings or on keys that are not this database's: cards made so would be unknown.
    """

    refusals: ClassVar[tuple[type[Exception], ...]] = ()
    requires_system_checks: list[str] = []
    needs_fit_settings = True
    run: Callable[..., Any]  # does the work with the parsed options; returns plain data that JSON can hold

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print the result as JSON.")
        self.arguments(parser)

    def arguments(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def lines(self, result: Any) -> Iterable[str]:
        """The result as lines of text."""
        for key, value in result.items():
            yield f"{key:<18}{shown(value)}"

    def tell(self, text: str) -> None:
        """How far a long command is: on a terminal, in a line of standard error that the next one is written over."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def handle(self, *args: Any, as_json: bool, **options: Any) -> None:
        refusals: tuple[type[Exception], ...] = (AccountError, *self.refusals)
        problem = ""
        token = under_way.set(f"{type(self).__module__.rpartition('.')[2]} ({_account()})")
        try:
            if self.needs_fit_settings:
                refuse_unfit_settings()
            result = self.run(**options)
        except Failed as failure:
            result, problem = failure.result, str(failure)
        except refusals as refusal:
            raise CommandError(str(refusal)) from None
        except OperationalError as error:
            raise CommandError(f"The database does not do its part: {error}") from error
        finally:
            under_way.reset(token)
            self.tell("")
        if as_json:
            self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1))
        else:
            for line in self.lines(result):
                self.stdout.write(line)
        if problem:
            raise CommandError(problem)


def refuse_unfit_settings() -> None:
    """CommandError with every error that the checks of settings and keys find."""
    found = run_checks(tags=[Tags.security, Tags.database], databases=["default"])
    if errors := [str(message.msg) for message in found if message.is_serious()]:
        raise CommandError(" ".join(["Nothing was done.", *errors]))


def _account() -> str:
    """Of the process, whatever its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may have a number alone
        return str(os.getuid())


def shown(value: Any) -> str:
    """A value as people read it on a terminal: no None, times to the second in the portal's zone."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return f"{timezone.localtime(value, timezone.get_default_timezone()):%F %T}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def table(rows: list[dict[str, Any]], columns: Iterable[str]) -> Iterable[str]:
    """Rows as left-aligned columns under their names; nothing at all for no rows."""
    if not rows:
        return
    columns = list(columns)
    cells = [columns, *([shown(row[column]) for column in columns] for row in rows)]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """How many columns of a terminal the text takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def staff_named(login: str) -> User:
    """The active member of staff with this login; commands write this name into the audit trail."""
    user = user_named(login)
    if not (user.is_staff and user.is_active):
        raise CommandError(f"{login!r} is not an active member of staff.")
    return user


def code_from_stdin() -> str:
    """A card code from standard input, not echoed on a terminal. Codes never stand in argv, which `ps` shows to all."""
    text = getpass.getpass("Card code: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not text.strip():
        raise CommandError("No card code came on standard input.")
    return text.strip()


def not_negative(text: str) -> int:
    """An argparse type: a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def at_most(characters: int) -> Callable[[str], str]:
    """An argparse type: a text that its column can hold."""

    def checked(text: str) -> str:
        if len(text) > characters:
            raise argparse.ArgumentTypeError(f"it has {len(text)} characters; {characters} at most")
        return text

    return checked


def iso_date(text: str) -> date:
    """An argparse type: a date such as 2027-12-31."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2027-12-31") from None
