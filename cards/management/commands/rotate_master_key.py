"""Put every batch under the newest master key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from cards import actions, vault
from cards.command import CardCommand
from cards.models import Batch


class Command(CardCommand):
    help = (
        "Rewrap the data key of every batch under the first key of CARD_MASTER_KEYS. Cards are not touched. "
        "May be stopped and run again at any time; the older keys may go once it reports 0 left."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only count the batches under older keys.")

    def run(self, *, dry_run: bool = False, **options: Any) -> dict[str, Any]:
        newest = vault.newest_master_key()
        older = Batch.objects.exclude(key_id=newest)
        rewrapped, unreadable = 0, []
        for batch in [] if dry_run else older.order_by("pk").iterator(chunk_size=500):
            try:
                rewrapped += actions.rewrap_batch(batch=batch)
                self.tell(f"{rewrapped:,} batches rewrapped")
            except vault.KeyUnavailable as error:
                unreadable.append((batch.pk, error.key_id))
        if unreadable:
            pk, key_id = unreadable[0]
            raise CommandError(
                f"{rewrapped} batches rewrapped, {len(unreadable)} not: key {key_id!r} of batch {pk} is missing or "
                "does not fit. Add it to CARD_MASTER_KEYS and run this again."
            )
        return {"key": newest, "rewrapped": rewrapped, "left": older.count()}
