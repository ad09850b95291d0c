"""Virtual hosts at cPanel, by WHM API 1. It has no idempotency key: the account's name is made of the order's key, so
that a second account for one order is refused, and the whole key stands in the account's contact address, which is read
back before anything is touched.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from cards.choices import ProductType

from .base import (
    Found,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    Ready,
    TransientError,
    scrub,
)
from .http import Http, checked_url

MB_PER_GB = 1024


def account_of(key: UUID) -> str:
    """At most 16 characters, the first a letter; the first eight are enough for cPanel to tell accounts apart."""
    return "p" + base64.b32encode(key.bytes[:9]).decode().rstrip("=").lower()


class WhmProvisioner(Provisioner):
    """OPTIONS: `url` (https://server.example:2087), `username`, `token` (an API token of that WHM user), `plan` (the
    name of a package), `limits` (default true: disk, traffic, databases and addon domains are set from the card),
    `mark_domain` (the domain of the contact addresses), `allow_private`, `ca_file`, `timeout` (default 60 seconds)."""

    option_names = frozenset(
        {"url", "username", "token", "plan", "limits", "mark_domain", "allow_private", "ca_file", "timeout"}
    )

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.url = checked_url(key, options)
        if not options.get("username") or not options.get("token"):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: username and token are needed.")
        owner = re.sub(r"[^a-z0-9-]", "-", key.lower())
        self.mark_domain = f"{owner}.{options.get('mark_domain', 'pickup.invalid')}"
        self.http = Http(
            timeout=float(options.get("timeout", 60)),
            allow_private=bool(options.get("allow_private", False)),
            ca_file=options.get("ca_file"),
        )

    def ensure(self, request: ProvisionRequest) -> Outcome:
        user = account_of(request.key)
        account = self._account(user, request.key) or self._create(user, request)
        access = {
            "address": str(account.get("ip") or urlsplit(self.url).hostname),
            "domain": str(account["domain"]),
            "username": user,
            "password": request.password,
            "control_panel": f"https://{urlsplit(self.url).hostname}:2083/",
        }
        return Ready(user, access, self._facts(account))

    def suspend(self, external_id: str) -> None:
        if not _suspended(self._known(external_id)):
            self._do("suspendacct", user=external_id, reason="suspended by the portal")
            self._read_back(external_id, suspended=True)

    def resume(self, external_id: str) -> None:
        if _suspended(self._known(external_id)):
            self._do("unsuspendacct", user=external_id)
            self._read_back(external_id, suspended=False)

    def terminate(self, external_id: str) -> None:
        if self._account(external_id) is None:
            return
        self._do("removeacct", username=external_id)
        if self._account(external_id) is not None:
            raise TransientError("WHM still lists the account that it was told to remove.")

    def set_domain(self, external_id: str, domain: str) -> None:
        if self._known(external_id)["domain"] == domain:
            return
        result, reason = self._result(self._ask("modifyacct", {"user": external_id, "domain": domain}))
        if self._known(external_id)["domain"] == domain:
            return
        if result:
            raise TransientError("WHM does not show the change yet.")
        raise PermanentError(f"WHM refused: {reason}")

    def find(self, key: UUID) -> Found | None:
        account = self._account(account_of(key), key)
        if account is None:
            return None
        state = "suspended" if _suspended(account) else "active"
        return Found(account_of(key), state, self._facts(account))  # type: ignore[arg-type]

    def list_keys(self) -> Iterable[UUID]:
        keys = (self._key_in(account) for account in self._accounts())
        return [key for key in keys if key is not None]

    def check(self) -> list[str]:
        return [f"WHM at {urlsplit(self.url).hostname}, {len(list(self.list_keys()))} accounts of ours"]

    # --- steps of opening ---------------------------------------------------------------------------------------
    def _create(self, user: str, request: ProvisionRequest) -> dict[str, Any]:
        if request.product_type != ProductType.VIRTUAL_HOST:
            raise PermanentError("The cPanel adapter opens virtual hosts only.")
        form = {"username": user, "domain": request.domain or request.hostname, "password": request.password}
        form["contactemail"] = f"{request.key}@{self.mark_domain}"
        if self.options.get("plan"):
            form["plan"] = str(self.options["plan"])
        if self.options.get("limits", True):
            spec = request.spec
            form |= {"quota": str(int(spec["web_space_gb"]) * MB_PER_GB), "maxsql": str(spec["databases"])}
            form |= {"maxaddon": str(int(spec["sites"]) - 1), "bwlimit": str(int(spec["traffic_gb"]) * MB_PER_GB)}
        result, reason = self._result(self._ask("createacct", form), request.password)
        account = self._account(user, request.key)
        if account is None and result:
            raise OutcomeUnknown("WHM does not list the account that it made.")
        if account is None:
            if self._used_up():
                raise NoCapacity(f"Our reseller's accounts at WHM are used up: {reason}")
            raise PermanentError(f"WHM refused: {reason}")
        return account  # also when another worker was faster: then WHM refused, but the account is this order's

    def _used_up(self) -> bool:
        """Whether our WHM user may make no more accounts; one who is no reseller has no limit."""
        counts = (self._ask("acctcounts", {}).get("data") or {}).get("reseller") or {}
        limit = str(counts.get("limit"))
        return limit.isdigit() and int(counts.get("active") or 0) + int(counts.get("suspended") or 0) >= int(limit)

    def _read_back(self, user: str, *, suspended: bool) -> None:
        if _suspended(self._known(user)) != suspended:
            raise TransientError("WHM does not show the change yet.")

    def _do(self, function: str, **form: str) -> None:
        result, reason = self._result(self._ask(function, form))
        if not result:
            raise TransientError(f"WHM refused: {reason}")

    # --- looking ------------------------------------------------------------------------------------------------
    def _account(self, user: str, key: UUID | None = None) -> dict[str, Any] | None:
        """The account of this name, None if there is none; one without our mark is somebody else's and an error."""
        for account in self._accounts(user):
            marked = self._key_in(account)
            if marked is None or account_of(marked) != user or (key is not None and marked != key):
                raise PermanentError(f"WHM has an account {user} that is not this order's.")
            return account
        return None

    def _known(self, user: str) -> dict[str, Any]:
        account = self._account(user)
        if account is None:
            raise PermanentError("WHM has no such account.")
        return account

    def _accounts(self, user: str = "") -> list[dict[str, Any]]:
        """All accounts, or the one of this name: by a search, which finds nothing instead of refusing."""
        form = {"searchtype": "user", "searchmethod": "exact", "search": user} if user else {}
        answer = self._ask("listaccts", form)
        result, reason = self._result(answer)
        found = answer["data"].get("acct") if isinstance(answer.get("data"), dict) else None
        if not result or not isinstance(found, list):
            raise TransientError(f"WHM refused: {reason}")
        return [account for account in found if not user or account.get("user") == user]

    def _key_in(self, account: dict[str, Any]) -> UUID | None:
        name, _, domain = str(account.get("email", "")).partition("@")
        try:
            return UUID(name) if domain == self.mark_domain else None
        except ValueError:
            return None

    @staticmethod
    def _facts(account: dict[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {"hostname": account["domain"], "address": account.get("ip")}
        if match := re.fullmatch(r"(\d+)M", str(account.get("disklimit"))):
            facts["web_space_gb"] = int(match[1]) // MB_PER_GB
        if str(account.get("maxsql", "")).isdigit():
            facts["databases"] = int(account["maxsql"])
        if str(account.get("maxaddons", "")).isdigit():
            facts["sites"] = int(account["maxaddons"]) + 1
        return {name: value for name, value in facts.items() if value is not None}

    @staticmethod
    def _result(answer: dict[str, Any], *secrets: str) -> tuple[bool, str]:
        """HTTP 200 says nothing, `metadata.result` does. `metadata.output` holds the password and is not looked at."""
        metadata = answer["metadata"]
        return metadata["result"] in (1, "1"), scrub(str(metadata.get("reason")), *secrets, limit=200)

    def _ask(self, function: str, form: dict[str, str]) -> dict[str, Any]:
        body = urlencode({"api.version": "1"} | form).encode()
        headers = {
            "Authorization": f"whm {self.options['username']}:{self.options['token']}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = self.http.send("POST", f"{self.url}/json-api/{function}", body=body, headers=headers)
        if answer.status in (401, 403):
            raise PermanentError("WHM does not accept our token.")
        if answer.status == 429:
            raise TransientError("WHM has had too many requests of ours.")
        if answer.status != 200:
            raise OutcomeUnknown(f"WHM failed (status {answer.status}).")
        content = answer.json()
        if not isinstance(content, dict) or "result" not in (content.get("metadata") or {}):
            raise OutcomeUnknown("WHM's answer cannot be read.")
        return content


def _suspended(account: dict[str, Any]) -> bool:
    return account.get("suspended") in (1, "1", True)
