"""The embedded default: one machine, no configuration, everything under one data directory.

`PORTAL_DATA_DIR` (default `var/` beside manage.py) holds the SQLite database, the socket of the embedded
Valkey, the simulator's ledger and the generated keys. Production sets the environment instead and is refused
these keys by the system checks.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path


def broker_socket(data_dir: Path) -> Path:
    """Path of the embedded Valkey's unix socket; short enough for the 108-byte limit of sockaddr_un."""
    path = data_dir / "valkey.sock"
    if len(str(path)) < 100:
        return path
    name = base64.urlsafe_b64encode(str(data_dir).encode()).decode()[-40:]
    return Path("/tmp") / f"pickup-{os.getuid()}-{name}.sock"  # noqa: S108  (a socket, owner checked by Valkey's unixsocketperm)


def load_or_create_keys(data_dir: Path) -> dict[str, str]:
    """Development keys of this data directory, made on first use: {"SECRET_KEY": ..., "CARD_MASTER_KEYS": ..., ...}.

    Each file is created with mode 600 and linked into place, so that two processes starting together agree on one
    set. The audit keys have a file of their own: directories made before there were any gain them.
    """
    cards = {
        "SECRET_KEY": "embedded-" + secrets.token_urlsafe(50),
        "CARD_MASTER_KEYS": "embedded1:" + _random_key(),
        "CARD_INDEX_KEY": "embedded:" + _random_key(),
        "ACCESS_KEYS": "embedded1:" + _random_key(),
    }
    audit = {"AUDIT_KEYS": "embedded1:" + _random_key()}
    return _load_or_create(data_dir / "keys.json", cards) | _load_or_create(data_dir / "audit_keys.json", audit)


def _load_or_create(path: Path, keys: dict[str, str]) -> dict[str, str]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(keys, indent=1))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def _random_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
