"""Fill an empty portal with the demo."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from accounts.command import PortalCommand
from cards.codes import group
from cards.vault import KeyUnavailable
from pickup_portal import demo, seeding


class Command(PortalCommand):
    help = (
        "Fill an empty portal with the demo: lines, systems, members, batches and orders. Does nothing when the demo "
        "stands or the portal holds data of its own. Prints the logins and three card codes to try and writes them "
        "to demo.json in the data directory, readable by its owner alone. Refused in production."
    )
    needs_fit_settings = False  # it has its own refusals

    def run(self, **options: Any) -> dict[str, Any]:
        if settings.PRODUCTION:
            raise CommandError("The demo has well-known passwords and is refused in production.")
        if demo.PROVIDER not in settings.PROVISIONERS:
            raise CommandError(f"The demo needs the provisioner {demo.PROVIDER!r} in PROVISIONERS.")
        if not seeding.is_whole():
            if seeding.has_foreign_data():
                return {"made": False, "why": "the portal holds data of its own"}
            seeding.seed()
            made = True
        else:
            made = False
            if not seeding.demo_batches().exists():
                return {"made": False, "why": f"a user {demo.STAFF_LOGIN!r} exists already"}
        try:
            codes = [card | {"code": group(card["code"])} for card in seeding.fresh_codes()]
        except KeyUnavailable as error:
            raise CommandError(f"The demo was made under other keys: {error}.") from None
        card = {
            "staff": {"login": demo.STAFF_LOGIN, "password": demo.STAFF_PASSWORD},
            "member": {"login": demo.MEMBER_LOGIN, "password": demo.MEMBER_PASSWORD},
            "codes": codes,
        }
        write_private(settings.DATA_DIR / "demo.json", json.dumps(card, ensure_ascii=False, indent=1))
        return {"made": made} | card

    def lines(self, result: dict[str, Any]) -> Iterable[str]:
        if "codes" not in result:
            yield f"No demo was made: {result['why']}."
            return
        yield "Demo data made." if result["made"] else "The demo stands already."
        for who in ("staff", "member"):
            yield f"{who:<8}{result[who]['login']} / {result[who]['password']}"
        for card in result["codes"]:
            yield f"code    {card['code']}  {card['name']}"


def write_private(path: Path, text: str) -> None:
    """Replace the file by one that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
