"""Write the codes of a batch's unused cards as TXT."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.command import staff_named
from cards import exports
from cards.command import CardCommand, batch_numbered


class Command(CardCommand):
    help = (
        "Write the codes of a batch's unused cards as TXT, one a line, to standard output or to a new file that only "
        "its owner can read. The export goes into the audit trail under --actor with --reason."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", help="ID or number of the batch.")
        parser.add_argument("--actor", required=True, help="Login of the member of staff who takes the codes.")
        parser.add_argument("--reason", required=True, help="Why; kept in the audit trail.")
        parser.add_argument("--output", type=Path, help="A file that does not exist yet; standard output otherwise.")

    def handle(self, *args: Any, as_json: bool, **options: Any) -> None:
        if as_json and not options["output"]:
            raise CommandError("--json goes together with --output: standard output holds the codes otherwise.")
        self.to_stdout = not options["output"]
        super().handle(*args, as_json=as_json, **options)

    def run(self, *, batch: str, actor: str, reason: str, output: Path | None, **options: Any) -> dict[str, Any]:
        if not reason.strip():
            raise CommandError("--reason must say why.")
        found, member_of_staff = batch_numbered(batch), staff_named(actor)
        if output is None:
            size = 0
            for block in exports.download_txt(batch=found, actor=member_of_staff, reason=reason):
                self.stdout.write(block.decode(), ending="")
                size += len(block)
            return {"batch": found.pk, "number": found.number, "bytes": size}
        return {"batch": found.pk, "number": found.number, "file": str(output)} | {
            "bytes": write_new(output, exports.download_txt(batch=found, actor=member_of_staff, reason=reason))
        }

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        if not self.to_stdout:
            yield f"{result['bytes']} bytes of {result['number']} written to {result['file']}."


def write_new(path: Path, blocks: Iterable[bytes]) -> int:
    """Write a file that must not exist yet, readable by its owner alone; a file that fails half way is removed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            return sum(file.write(block) for block in blocks)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
