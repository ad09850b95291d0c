"""Virtual hosts at Virtualmin, by its remote API. It has no idempotency key: the administration user's name is the
order's key, written in letters, and the description carries our mark, which is read back before anything is touched.

What `user_of` makes can be read backwards, so that orphans are found by their users' names alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from cards.choices import ProductType

from .base import (
    Found,
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

BLOCKS_PER_GB = 1024 * 1024


def user_of(key: UUID) -> str:
    return "p" + base64.b32encode(key.bytes).decode().rstrip("=").lower()


def key_of(user: str) -> UUID | None:
    """The order whose user this is; None for everybody else's."""
    if len(user) != 27 or not user.startswith("p"):
        return None
    try:
        return UUID(bytes=base64.b32decode(user[1:].upper() + "======"))
    except (binascii.Error, ValueError):
        return None


class VirtualminProvisioner(Provisioner):
    """OPTIONS: `url` (https://panel.example:10000), `username`, `password` (of a Webmin user who may call the remote
    API), `plan` (the name of a plan), `limits` (default true: quota, databases and sites are set from the card),
    `address` (of the server, shown to members), `allow_private`, `ca_file`, `timeout` (default 60 seconds)."""

    option_names = frozenset(
        {"url", "username", "password", "plan", "limits", "address", "allow_private", "ca_file", "timeout"}
    )

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.url = checked_url(key, options)
        if not options.get("username") or not options.get("password"):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: username and password are needed.")
        self.login = (str(options["username"]), str(options["password"]))
        self.http = Http(
            timeout=float(options.get("timeout", 60)),
            allow_private=bool(options.get("allow_private", False)),
            ca_file=options.get("ca_file"),
        )

    def ensure(self, request: ProvisionRequest) -> Outcome:
        user = user_of(request.key)
        site = self._site(user) or self._create(user, request)
        access = {
            "address": str(self.options.get("address") or urlsplit(self.url).hostname),
            "port": "22",
            "domain": site["name"],
            "username": user,
            "password": request.password,
            "control_panel": self.url + "/",
        }
        return Ready(user, access, self._facts(site))

    def suspend(self, external_id: str) -> None:
        site = self._known(external_id)
        if "disabled" not in site["values"]:
            self._do("disable-domain", domain=site["name"], why="suspended by the portal")
            self._read_back(external_id, disabled=True)

    def resume(self, external_id: str) -> None:
        site = self._known(external_id)
        if "disabled" in site["values"]:
            self._do("enable-domain", domain=site["name"])
            self._read_back(external_id, disabled=False)

    def terminate(self, external_id: str) -> None:
        site = self._site(external_id)
        if site is None:
            return
        self._do("delete-domain", domain=site["name"])
        if self._site(external_id) is not None:
            raise TransientError("Virtualmin still lists the domain that it was told to delete.")

    def set_domain(self, external_id: str, domain: str) -> None:
        site = self._known(external_id)
        if site["name"] == domain:
            return  # asked for its own name, Virtualmin says that it exists
        answer = self._ask("modify-domain", {"domain": site["name"], "newdomain": domain})
        if self._known(external_id)["name"] == domain:
            return
        if answer.get("status") == "success":
            raise TransientError("Virtualmin does not show the change yet.")
        raise PermanentError(f"Virtualmin refused: {scrub(str(answer.get('error')))}")

    def find(self, key: UUID) -> Found | None:
        site = self._site(user_of(key))
        if site is None:
            return None
        state = "suspended" if "disabled" in site["values"] else "active"
        return Found(user_of(key), state, self._facts(site))  # type: ignore[arg-type]

    def list_keys(self) -> Iterable[UUID]:
        return [key for key in map(key_of, self._users()) if key is not None]

    def check(self) -> list[str]:
        return [f"Virtualmin at {urlsplit(self.url).hostname}, {len(list(self.list_keys()))} sites of ours"]

    # --- steps of opening ---------------------------------------------------------------------------------------
    def _create(self, user: str, request: ProvisionRequest) -> dict[str, Any]:
        if request.product_type != ProductType.VIRTUAL_HOST:
            raise PermanentError("The Virtualmin adapter opens virtual hosts only.")
        form = {"domain": request.domain or request.hostname, "user": user, "pass": request.password}
        form |= {"desc": self._mark(request.key), "unix": "", "dir": "", "web": "", "mysql": ""}
        if self.options.get("plan"):
            form["plan"] = str(self.options["plan"])
        if self.options.get("limits", True):
            blocks = str(int(request.spec["web_space_gb"]) * BLOCKS_PER_GB)
            form |= {"quota": blocks, "uquota": blocks, "max-dbs": str(request.spec["databases"])}
            form["max-doms"] = str(int(request.spec["sites"]) - 1)
        refusal = self._ask("create-domain", form)
        site = self._site(user)
        if site is None and refusal.get("status") == "success":
            raise OutcomeUnknown("Virtualmin does not list the domain that it made.")
        if site is None:
            text = scrub(str(refusal.get("error")), request.password)
            raise PermanentError(f"Virtualmin refused: {text}")
        return site  # also when another worker was faster: then the answer was a refusal, but the site is ours

    def _read_back(self, user: str, *, disabled: bool) -> None:
        if ("disabled" in self._known(user)["values"]) != disabled:
            raise TransientError("Virtualmin does not show the change yet.")

    def _do(self, program: str, **form: str) -> None:
        answer = self._ask(program, form)
        if answer.get("status") != "success":
            raise TransientError(f"Virtualmin refused: {scrub(str(answer.get('error')), *form.values())}")

    # --- looking ------------------------------------------------------------------------------------------------
    def _site(self, user: str) -> dict[str, Any] | None:
        """The top-level domain of this user; None if Virtualmin has no such user. Not bearing our mark is an error."""
        key = key_of(user)
        if key is None:
            return None
        answer = self._ask("list-domains", {"user": user, "multiline": "", "toplevel": ""})
        data = answer.get("data") if answer.get("status") == "success" else None
        sites = [one for one in data or [] if one.get("values", {}).get("username") == [user]]
        if not sites:
            if user in self._users():
                raise TransientError("Virtualmin lists the user but does not show the domain.")
            return None
        if sites[0]["values"].get("description") != [self._mark(key)]:
            raise PermanentError(f"Virtualmin has a user {user} whose domain is not this order's.")
        return dict(sites[0])

    def _known(self, user: str) -> dict[str, Any]:
        site = self._site(user)
        if site is None:
            raise PermanentError("Virtualmin has no such site.")
        return site

    def _users(self) -> list[str]:
        answer = self._ask("list-domains", {"user-only": "", "toplevel": ""})
        if answer.get("status") != "success":
            raise TransientError(f"Virtualmin refused: {scrub(str(answer.get('error')))}")
        return [str(one["name"]).strip() for one in answer.get("data") or []]

    def _mark(self, key: UUID) -> str:
        return f"pickup {key} {self.key}".replace(":", "-")  # a colon is refused

    @staticmethod
    def _facts(site: dict[str, Any]) -> dict[str, Any]:
        values = {name: texts[0] for name, texts in site["values"].items() if texts}
        facts: dict[str, Any] = {"hostname": site["name"]}
        if str(values.get("server_block_quota", "")).isdigit():
            facts["web_space_gb"] = int(values["server_block_quota"]) // BLOCKS_PER_GB
        if str(values.get("maximum_databases", "")).isdigit():
            facts["databases"] = int(values["maximum_databases"])
        return facts

    def _ask(self, program: str, form: dict[str, str]) -> dict[str, Any]:
        """The answer's JSON: HTTP 200 says nothing, `status` does. Without Webmin's own user agent it shows a login."""
        body = urlencode({"program": program, "json": "1"} | form).encode()
        headers = {"User-Agent": "Webmin", "Content-Type": "application/x-www-form-urlencoded"}
        answer = self.http.send(
            "POST", f"{self.url}/virtual-server/remote.cgi", body=body, headers=headers, auth=self.login
        )
        if answer.status in (401, 403):
            raise PermanentError("Virtualmin does not accept our user name and password.")
        if answer.status == 429:
            raise TransientError("Virtualmin has had too many requests of ours.")
        if answer.status != 200:
            raise OutcomeUnknown(f"Virtualmin failed (status {answer.status}).")
        content = answer.json()
        if not isinstance(content, dict) or content.get("status") not in ("success", "failure", "error"):
            raise OutcomeUnknown("Virtualmin's answer cannot be read.")
        return content
