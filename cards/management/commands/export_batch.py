"""Write the codes of a batch's unused cards to a file, in any of the forms that the page offers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from accounts.command import staff_named
from cards import exports
from cards.choices import ExportFormat, PrintLayout
from cards.command import CardCommand, batch_numbered
from cards.exports.archive import SHORTEST_PASSWORD
from cards.exports.forms import SerialsField


class Command(CardCommand):
    help = (
        "Write the codes of a batch's unused cards, to standard output or to a new file that only its owner can read. "
        "txt holds one code a line; csv and xlsx list every card of the range, all but the unused ones by their last "
        "four; pdf is to print. The export goes into the audit trail under --actor with --reason."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", help="ID or number of the batch.")
        parser.add_argument("--actor", required=True, help="Login of the member of staff who takes the codes.")
        parser.add_argument("--reason", required=True, help="Why; kept in the audit trail.")
        parser.add_argument("--format", choices=ExportFormat.values, default=ExportFormat.TXT, dest="file_format")
        parser.add_argument("--serials", help="One serial, or a range such as 1-100; all by default.")
        parser.add_argument("--layout", choices=PrintLayout.values, default=PrintLayout.A4_10, help="For pdf.")
        parser.add_argument(
            "--password-file",
            type=Path,
            help="Put the file into an AES-256 zip archive under the password in this file's first line.",
        )
        parser.add_argument("--output", type=Path, help="A file that does not exist yet; standard output otherwise.")

    def handle(self, *args: Any, as_json: bool, **options: Any) -> None:
        if as_json and not options["output"]:
            raise CommandError("--json goes together with --output: standard output holds the codes otherwise.")
        self.to_stdout = not options["output"]
        super().handle(*args, as_json=as_json, **options)

    def run(self, *, batch: str, actor: str, reason: str, output: Path | None, **options: Any) -> dict[str, Any]:
        if not reason.strip():
            raise CommandError("--reason must say why.")
        if output is not None and output.exists():
            raise CommandError(f"{output}: it exists already.")
        plain = options["file_format"] in (ExportFormat.TXT, ExportFormat.CSV) and not options["password_file"]
        if output is None and not plain:
            raise CommandError("This is no text: name a file with --output.")
        try:
            serials = SerialsField(required=False).clean(options["serials"])
        except ValidationError as error:
            raise CommandError(f"--serials: {error.message}") from None
        password = password_in(options["password_file"]) if options["password_file"] else ""
        found, member_of_staff = batch_numbered(batch), staff_named(actor)
        handout = exports.hand_out(
            batch=found,
            actor=member_of_staff,
            reason=reason,
            file_format=ExportFormat(options["file_format"]),
            serials=serials,
            layout=PrintLayout(options["layout"]),
            password=password,
        )
        facts = {"batch": found.pk, "number": found.number, "format": options["file_format"], "codes": handout.codes}
        if output is not None:
            return facts | {"file": str(output), "bytes": write_new(output, handout, self.tell)}
        size = 0
        for block in handout:
            self.stdout.write(block.decode(), ending="")
            size += len(block)
        return facts | {"bytes": size}

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        if not self.to_stdout:
            yield f"{result['codes']} codes of {result['number']} written to {result['file']}, {result['bytes']} bytes."


def password_in(path: Path) -> str:
    """The first line of the file. A password never stands in argv, which `ps` shows to all."""
    try:
        password = path.read_text().partition("\n")[0].strip("\r")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"{path}: cannot be read.") from None
    if len(password) < SHORTEST_PASSWORD:
        raise CommandError(f"The password in {path} has less than {SHORTEST_PASSWORD} characters.")
    return password


def write_new(path: Path, blocks: Iterable[bytes], tell: Callable[[str], None]) -> int:
    """Write a file that must not exist yet, readable by its owner alone; a file that fails half way is removed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            size = 0
            for block in blocks:
                size += file.write(block)
                tell(f"{size:,} bytes written")
            return size
    except BaseException:
        path.unlink(missing_ok=True)
        raise
