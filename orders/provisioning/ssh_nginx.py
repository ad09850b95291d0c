"""Virtual hosts as sites of nginx on a shared web node, by the agent program of `agents/nginx_agent.py` over SSH.

The agent is idempotent by the order's key; this file translates its answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from cards.choices import ProductType

from .base import (
    Found,
    InProgress,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionerError,
    ProvisionRequest,
    Ready,
    ResourceState,
    TransientError,
    scrub,
)
from .ssh import SshAgent, pinned

MEANING: dict[str, type[ProvisionerError]] = {
    "full": NoCapacity,
    "busy": TransientError,
    "broken": TransientError,  # rolled back; another site's snippet or the node itself may be at fault
    "slow": OutcomeUnknown,
    "unfinished": OutcomeUnknown,
}
ABSENT = ("unknown", "terminated")


class AgentRefusal(PermanentError):
    """Refused for good by the agent, which says why by `code`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class NginxProvisioner(Provisioner):
    """OPTIONS: `host`, `port` (22), `user` (root), `host_key` (the node's public key, as in known_hosts), `key_file`
    (the portal's private key), `timeout` (seconds, default 40: the agent waits for its turn and for nginx)."""

    option_names = frozenset({"host", "port", "user", "host_key", "key_file", "timeout"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        if not options.get("host"):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: host is missing.")
        try:
            host_key = pinned(str(options.get("host_key", "")))
        except ValueError:
            raise ImproperlyConfigured(
                f"PROVISIONERS[{key!r}]: host_key must be the node's public key, such as `ssh-ed25519 AAAA...`."
            ) from None
        key_file = Path(str(options.get("key_file", "")))
        if not key_file.is_file():
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: key_file {key_file} is not a file.")
        self.agent = SshAgent(
            host=str(options["host"]),
            port=int(options.get("port", 22)),
            user=str(options.get("user", "root")),
            host_key=host_key,
            key_file=key_file,
            timeout=float(options.get("timeout", 40)),
        )

    def ensure(self, request: ProvisionRequest) -> Outcome:
        if request.product_type != ProductType.VIRTUAL_HOST:
            raise PermanentError("The nginx adapter opens virtual hosts only.")
        if int(request.spec.get("databases") or 0) or int(request.spec.get("sites") or 1) > 1:
            raise PermanentError("The nginx adapter delivers neither databases nor more than one site.")
        site = self._ask(
            "create",
            request.key,
            request.password,
            number=request.order_number,
            domain=request.domain or request.hostname,
            spec=request.spec,
            password=request.password,
        )
        if not site["whole"]:
            return InProgress(site["key"], timedelta(seconds=1))
        access = {"address": site["address"], "port": "22", "domain": site["domain"], "username": site["user"]}
        return Ready(site["key"], access | {"password": request.password}, _facts(site))

    def suspend(self, external_id: str) -> None:
        self._ask("suspend", external_id)

    def resume(self, external_id: str) -> None:
        self._ask("resume", external_id)

    def terminate(self, external_id: str) -> None:
        self._ask("delete", external_id)

    def set_domain(self, external_id: str, domain: str) -> None:
        self._ask("set_domain", external_id, domain=domain)

    def find(self, key: UUID) -> Found | None:
        try:
            site = self._ask("show", key)
        except AgentRefusal as refusal:
            if refusal.code in ABSENT:
                return None
            raise
        state = cast(ResourceState, site["state"]) if site["whole"] else "building"
        return Found(site["key"], state, _facts(site))

    def list_keys(self) -> Iterable[UUID]:
        return [UUID(key) for key in self._ask("keys")["keys"]]

    def check(self) -> list[str]:
        answer = self._ask("keys")
        return [f"agent version {answer['version']} at {self.agent.host}, {len(answer['keys'])} sites"]

    def _ask(self, verb: str, key: UUID | str = "", *secrets: str, **more: Any) -> dict[str, Any]:
        """What the agent shows of the site. Its refusals become the contract's errors."""
        answer = self.agent.ask({"verb": verb, "key": str(key), "owner": self.key, **more}, *secrets)
        if answer.get("ok") is True and isinstance(answer.get("site"), dict):
            return dict(answer["site"])
        code, text = str(answer.get("error", "")), scrub(str(answer.get("text", "")), *secrets)
        if code in MEANING:
            raise MEANING[code](f"The agent: {text}")
        if not code:
            raise OutcomeUnknown("The agent's answer cannot be read.")
        raise AgentRefusal(code, f"The agent: {text}")


def _facts(site: dict[str, Any]) -> dict[str, Any]:
    return dict(site["spec"]) | {"hostname": site["domain"], "address": site["address"]}
