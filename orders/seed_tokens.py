"""The token that opens one order's first-boot settings, and their address at the portal."""

from __future__ import annotations

from uuid import UUID

from cards import vault


def seed_tokens(key: UUID) -> list[str]:
    """The token of the order of this key under each access key, the newest first. Raises vault.KeyUnavailable."""
    return [digest.hex() for digest in vault.access_digests(b"first-boot" + key.bytes)]


def seed_path(key: UUID) -> str:
    return f"/machines/{key}/{seed_tokens(key)[0]}/seed.iso"
