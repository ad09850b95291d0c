"""A whole adapter outside the portal. Acme's control plane is a directory: a server is a file named by the order's key.

PROVISIONERS='{"acme": {"BACKEND": "acme_portal.AcmeProvisioner", "OPTIONS": {"directory": "/srv/acme"}}}'
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from orders.provisioning.base import (
    Found,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    Ready,
)


class AcmeProvisioner(Provisioner):
    option_names = frozenset({"directory", "most"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.directory = Path(str(options.get("directory", "")))
        if not self.directory.is_absolute():
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: directory must be an absolute path.")

    def ensure(self, request: ProvisionRequest) -> Outcome:
        server = self._server(str(request.key)) or self._create(request)
        access = {"address": server["address"], "port": "22", "username": "root", "password": request.password}
        return Ready(str(request.key), access, self._facts(server))

    def suspend(self, external_id: str) -> None:
        self._set_state(external_id, "suspended")

    def resume(self, external_id: str) -> None:
        self._set_state(external_id, "active")

    def terminate(self, external_id: str) -> None:
        self._path(external_id).unlink(missing_ok=True)

    def find(self, key: UUID) -> Found | None:
        server = self._server(str(key))
        return Found(str(key), server["state"], self._facts(server)) if server else None

    def list_keys(self) -> Iterable[UUID]:
        return [UUID(path.stem) for path in self.directory.glob("*.json")]

    def check(self) -> list[str]:
        if not self.directory.is_dir():
            raise PermanentError("Acme's directory is not there.")
        return [f"Acme, {len(list(self.list_keys()))} servers"]

    def _create(self, request: ProvisionRequest) -> dict[str, Any]:
        """Whole or not at all, and never a second one: a link is refused where the name exists."""
        if len(list(self.list_keys())) >= int(self.options.get("most", 1000)):
            raise NoCapacity("Acme is full.")
        server = {"spec": request.spec, "hostname": request.hostname, "image": request.image, "state": "active"}
        draft = self.directory / f".{request.key}.{os.getpid()}"
        draft.write_text(json.dumps(server | {"address": "192.0.2.80"}))
        try:
            os.link(draft, self._path(str(request.key)))
        except FileExistsError:
            pass  # another worker was faster: his is the one
        finally:
            draft.unlink()
        made = self._server(str(request.key))
        if made is None:
            raise OutcomeUnknown("Acme does not list the server that it made.")
        return made

    def _set_state(self, external_id: str, state: str) -> None:
        server = self._server(external_id)
        if server is None:
            raise PermanentError("Acme has no such server.")
        draft = self.directory / f".{external_id}.{os.getpid()}"
        draft.write_text(json.dumps(server | {"state": state}))
        draft.replace(self._path(external_id))

    def _server(self, external_id: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._path(external_id).read_text()))
        except FileNotFoundError:
            return None

    def _path(self, external_id: str) -> Path:
        return self.directory / f"{Path(external_id).name}.json"

    @staticmethod
    def _facts(server: dict[str, Any]) -> dict[str, Any]:
        return dict(server["spec"]) | {name: server[name] for name in ("hostname", "image", "address")}
