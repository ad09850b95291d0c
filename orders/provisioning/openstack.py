"""Cloud servers from OpenStack Nova. It has no idempotency key: the order's key is a tag that a server is created with,
and what carries the tag is looked up before anything is made.

1. Look up by tag. If there is nothing, create, and look up again: what the create answered is not believed.
2. Wait until Nova has found a host for it, or none. Of several with the tag the oldest stays: two workers that both
   looked first made them, and `created` stands only when a host is found.
3. `BUILD`, then `ACTIVE`: read back address and size.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from cards.choices import OSFamily, ProductType

from . import openstack_sdk
from .base import (
    Found,
    InProgress,
    NoCapacity,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Provisioner,
    ProvisionRequest,
    Ready,
    ResourceState,
    TransientError,
    scrub,
)
from .cloud_init import login, user_data
from .openstack_shapes import Shapes, addresses_of, facts_of, unlike

MICROVERSION = "2.52"  # tags at create; Nova has it since 2017
SOON = timedelta(seconds=3)
ORDER, OWNER, NUMBER = "pickup_order", "pickup_owner", "pickup_number"
OURS = "pickup-card"  # a tag of everything of ours, whoever of us made it
SHELF = "SOFT_DELETED"  # of a cloud that keeps what it deleted for a while
RESUMED_BY = {
    "SHUTOFF": "os-start",
    "SUSPENDED": "resume",
    "PAUSED": "unpause",
    "SHELVED": "unshelve",
    "SHELVED_OFFLOADED": "unshelve",
}
STATES: dict[str, ResourceState] = {"BUILD": "building", "REBUILD": "building", "ERROR": "failed", "UNKNOWN": "failed"}
Server = dict[str, Any]


class NovaProvisioner(Provisioner):
    """OPTIONS: those of `openstack_sdk.OpenStackApi`, and `networks` (UUIDs; one card each, the first is the public
    one), `flavors` (names to choose from, default all that the project sees), `limit_bandwidth` (default true: the
    flavor must limit it; false where the network does it), `security_groups` (names), `availability_zone`."""

    option_names = openstack_sdk.OPTIONS | {
        "networks",
        "flavors",
        "limit_bandwidth",
        "security_groups",
        "availability_zone",
    }

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.api = openstack_sdk.OpenStackApi(key, options, service="compute", microversion=MICROVERSION)
        lists = {name: options.get(name, []) for name in ("networks", "flavors", "security_groups")}
        for name, values in lists.items():
            if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
                raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: {name} must be a list of texts.")
        self.networks, self.security_groups = lists["networks"], lists["security_groups"]
        if not self.networks or not all(map(_is_uuid, self.networks)):
            raise ImproperlyConfigured(
                f"PROVISIONERS[{key!r}]: networks must be a list of UUIDs, the public one first."
            )
        if not isinstance(options.get("limit_bandwidth", True), bool):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: limit_bandwidth must be true or false.")
        self.zone = str(options.get("availability_zone", ""))
        self.shapes = Shapes(self.api, lists["flavors"], options.get("limit_bandwidth", True))

    def ensure(self, request: ProvisionRequest) -> Outcome:
        if not self._servers(request.key):
            self._create(request)
        server, *others = self._placed(request.key)
        if any(map(_is_unplaced, (server, *others))):
            return InProgress(server["id"], SOON)
        for other in others:
            self._delete(other["id"])
        if server["status"] == "ERROR":
            self._give_up(server)
        if server["status"] == "BUILD" or not addresses_of(server):
            return InProgress(server["id"], SOON)
        if server["status"] != "ACTIVE":
            raise TransientError(f"The server is in the state {scrub(str(server['status']))}.")
        facts = facts_of(server, cards=len(self.networks))
        if wrong := unlike(facts, request.spec, bandwidth=self.shapes.limit_bandwidth):
            raise PermanentError(f"Nova's server {server['id']} is not what was sold: {wrong}.")
        windows = request.os_family == OSFamily.WINDOWS
        access = login(facts["address"], password=request.password, windows=windows)
        if int(request.spec.get("ip_count") or 1) > 1:
            access["more_addresses"] = ", ".join(addresses_of(server)[1:])
        return Ready(server["id"], access, facts)

    def suspend(self, external_id: str) -> None:
        self._bring(external_id, frozenset(RESUMED_BY), {"ACTIVE": "os-stop", "ERROR": "os-stop"})

    def resume(self, external_id: str) -> None:
        self._bring(external_id, frozenset({"ACTIVE"}), RESUMED_BY)

    def terminate(self, external_id: str) -> None:
        """With the doubles that a worker left behind: nobody asks for their order again."""
        server = self._server(external_id)
        if server is not None:
            for one in {external_id} | {double["id"] for double in self._servers(UUID(server["metadata"][ORDER]))}:
                self._delete(one)

    def find(self, key: UUID) -> Found | None:
        servers = self._servers(key)
        if not servers:
            return None
        server, status = servers[0], str(servers[0]["status"])
        state = STATES.get(status, "suspended" if status in RESUMED_BY else "active")
        return Found(server["id"], state, facts_of(server, cards=len(self.networks)))

    def list_keys(self) -> Iterable[UUID]:
        return sorted(self._count())

    def check(self) -> list[str]:
        counted = self._count()
        for network in self.networks:
            if self.api.get(f"/networks/{network}", service="network") is None:
                raise PermanentError(f"The project sees no network {network}.")
        lines = [
            f"Nova, {sum(counted.values())} servers of ours",
            f"flavors: {', '.join(self.shapes.flavor_names()) or 'none'}",
            f"images: {', '.join(self.shapes.image_names()) or 'none'}",
        ]
        doubles = ", ".join(str(key) for key, count in counted.items() if count > 1)
        return [*lines, f"more than one server for: {doubles}"] if doubles else lines

    # --- steps of opening ---------------------------------------------------------------------------------------
    def _create(self, request: ProvisionRequest) -> None:
        if request.product_type != ProductType.CLOUD_SERVER:
            raise PermanentError("The Nova adapter opens cloud servers only.")
        flavor, image = self.shapes.flavor(request.spec), self.shapes.image(request.image)
        hostname = request.hostname or request.order_number.lower()
        windows = request.os_family == OSFamily.WINDOWS
        settings = user_data(password=request.password, ssh_key=request.ssh_key, hostname=hostname, windows=windows)
        cards = [self.networks[0]] * int(request.spec.get("ip_count") or 1) + self.networks[1:]
        server: dict[str, Any] = {
            "name": hostname.partition(".")[0],  # what Nova tells the machine of its name
            "flavorRef": flavor,
            "imageRef": image,
            "networks": [{"uuid": network} for network in cards],
            "tags": [str(request.key), OURS],
            "metadata": {ORDER: str(request.key), OWNER: self.key, NUMBER: request.order_number},
            "user_data": base64.b64encode(settings.encode()).decode(),
            "config_drive": True,
        }
        if windows:
            server["adminPass"] = request.password  # cloudbase-init prefers Nova's password to ours
        if self.security_groups:
            server["security_groups"] = [{"name": name} for name in self.security_groups]
        if self.zone:
            server["availability_zone"] = self.zone
        if self._servers(request.key):
            return  # another worker was faster while this one chose
        answer = self.api.call("POST", "/servers", {"server": server})
        if answer.status == 403 and self.shapes.over_quota(request.spec):
            raise NoCapacity("The project's quota at Nova is used up.")
        if answer.status != 202:
            raise self.api.refusal(answer)

    def _placed(self, key: UUID) -> list[Server]:
        """The order's servers, as soon as each has a host or has been refused one; the first is the one to keep."""
        servers: list[Server] = []

        def placed() -> bool:
            servers[:] = self._servers(key)
            return not any(map(_is_unplaced, servers))

        self._within_timeout(placed)
        if not servers:
            raise OutcomeUnknown("Nova does not list the server that it took.")
        return servers

    def _give_up(self, server: Server) -> None:
        """A server that failed to build holds nothing but its place in the quota: make room for another try."""
        fault = scrub(str((server.get("fault") or {}).get("message")), limit=160)
        self._delete(server["id"])
        if not server["hostId"]:
            raise NoCapacity(f"Nova found no host: {fault}")
        raise TransientError(f"Nova gave the server up: {fault}")

    def _delete(self, server_id: str) -> None:
        answer = self.api.call("DELETE", f"/servers/{server_id}")
        if answer.status not in (204, 404, 409):  # 409: something is being done to it
            raise self.api.refusal(answer)
        if not self._within_timeout(lambda: self._server(server_id) is None):
            raise OutcomeUnknown("Nova is still deleting the server.")

    def _bring(self, external_id: str, wanted: frozenset[str], actions: Mapping[str, str]) -> None:
        """Until the server's state is one of `wanted`: whatever its state now asks for, unless Nova is at it."""
        status = ""

        def reached() -> bool:
            nonlocal status
            server = self._server(external_id)
            if server is None:
                raise PermanentError("Nova has no such server.")
            status = str(server["status"])
            if status not in wanted and status in actions and not server.get("OS-EXT-STS:task_state"):
                answer = self.api.call("POST", f"/servers/{server['id']}/action", {actions[status]: None})
                if answer.status not in (202, 409):
                    raise self.api.refusal(answer)
            return status in wanted

        if not self._within_timeout(reached):
            raise OutcomeUnknown(f"The server is still in the state {scrub(status)}.")

    # --- looking ------------------------------------------------------------------------------------------------
    def _servers(self, key: UUID) -> list[Server]:
        """What carries the key, the one to keep first. Without our mark it is somebody else's, and an error."""
        shown = self.api.pages(f"/servers/detail?tags={key}", "servers")
        found = [server for server in shown if server["status"] not in ("DELETED", SHELF)]
        for server in found:
            if self._mark(server) != str(key):
                raise PermanentError(f"Nova's server {server['id']} has this order's tag and is not ours.")
        return sorted(found, key=lambda server: (server["status"] == "ERROR", server["created"], server["id"]))

    def _server(self, external_id: str) -> Server | None:
        content = self.api.get(f"/servers/{quote(external_id, safe='')}")
        if content is None or content["server"]["status"] == SHELF:
            return None
        if not self._mark(content["server"]):
            raise PermanentError(f"Nova's server {external_id} is not ours.")
        return dict(content["server"])

    def _mark(self, server: Server) -> str:
        mark = server["metadata"]
        return str(mark.get(ORDER, "")) if mark.get(OWNER) == self.key else ""

    def _count(self) -> Counter[UUID]:
        marks = (self._mark(one) for one in self.api.pages(f"/servers/detail?tags={OURS}", "servers"))
        return Counter(UUID(mark) for mark in marks if mark)

    def _within_timeout(self, reached: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.api.timeout
        while not reached():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)
        return True


def _is_unplaced(server: Server) -> bool:
    return server["status"] == "BUILD" and not server["hostId"]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
