"""Bare-metal servers from OpenStack Ironic. The order's key is the UUID of Ironic's allocation, which makes a repeat a
409 and ties the node to the order; deploying acts by the node's state.

1. Allocate a node of the model that was sold: `allocating`, then `active` with a node, or `error` (none is free).
2. Tell the node its image and first-boot settings, and deploy: `deploying`, ..., `active`.
3. Read node and allocation back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
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

MICROVERSION = "1.56"  # allocations (1.52), and config drives that Ironic builds itself (1.56)
SOON = timedelta(seconds=3)
DEPLOYABLE = ("available", "deploy failed")
BUILDING = ("deploying", "wait call-back", "deploy hold", "rebuild", "available")


class IronicProvisioner(Provisioner):
    """OPTIONS: those of `openstack_sdk.OpenStackApi`, and `resource_classes` (a mapping from the server models that are
    sold to Ironic's resource classes; a model that is not in it is its own), `images` (a mapping from an image's
    reference to a node's instance_info; a reference that is not in it is the image_source)."""

    option_names = openstack_sdk.OPTIONS | {"resource_classes", "images"}

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.api = openstack_sdk.OpenStackApi(key, options, service="baremetal", microversion=MICROVERSION)
        self.classes, self.images = options.get("resource_classes", {}), options.get("images", {})
        if not isinstance(self.classes, dict) or not isinstance(self.images, dict):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: resource_classes and images must be mappings.")

    def ensure(self, request: ProvisionRequest) -> Outcome:
        external_id = str(request.key)
        allocation = self._allocation(external_id) or self._allocate(request)
        if allocation["state"] == "error":
            self._drop(external_id)  # it holds no node: nothing is left behind
            raise NoCapacity(f"Ironic has no free node: {scrub(str(allocation.get('last_error')), limit=160)}")
        node = self._node(allocation)
        if node is None:
            return InProgress(external_id, SOON)
        state = node["provision_state"]
        if state in DEPLOYABLE:
            self._deploy(node, request)
        if state == "deploy failed":
            raise OutcomeUnknown(f"Deploying failed and was started again: {scrub(str(node.get('last_error')))}")
        if state != "active":
            if state not in BUILDING:
                raise TransientError(f"The node is in the state {scrub(str(state))}.")
            return InProgress(external_id, SOON)
        windows = request.os_family == OSFamily.WINDOWS
        access = login(self._address(node), password=request.password, windows=windows)
        return Ready(external_id, access, self._facts(node))

    def suspend(self, external_id: str) -> None:
        self._power(external_id, "power off")

    def resume(self, external_id: str) -> None:
        self._power(external_id, "power on")

    def terminate(self, external_id: str) -> None:
        allocation = self._allocation(external_id)
        if allocation is None:
            return
        node = self._node(allocation)
        if node is None or node["provision_state"] == "available":
            self._drop(external_id)
        elif node["provision_state"] not in ("deleting", "cleaning", "clean wait"):
            self._provision(node, {"target": "deleted"})
        if not self._within_timeout(lambda: self._allocation(external_id) is None):
            raise OutcomeUnknown("Ironic is still undeploying the node.")

    def find(self, key: UUID) -> Found | None:
        allocation = self._allocation(str(key))
        if allocation is None:
            return None
        node = self._node(allocation)
        return Found(str(key), self._state(allocation, node), self._facts(node) if node else {})

    def list_keys(self) -> Iterable[UUID]:
        shown = self.api.pages("/allocations", "allocations", identity="uuid")
        return [UUID(one["uuid"]) for one in shown if (one.get("extra") or {}).get("pickup_owner") == self.key]

    def check(self) -> list[str]:
        nodes = self.api.pages("/nodes?fields=uuid,resource_class,provision_state", "nodes", identity="uuid")
        free: dict[str, int] = {}
        for node in nodes:
            if node["provision_state"] == "available":
                free[str(node["resource_class"])] = free.get(str(node["resource_class"]), 0) + 1
        models = ", ".join(f"{model}: {count}" for model, count in sorted(free.items()))
        images = ", ".join(sorted(self.images)) or "any reference"
        return [f"Ironic, {len(nodes)} nodes; free: {models or 'none'}", f"images: {images}"]

    # --- steps of opening ---------------------------------------------------------------------------------------
    def _allocate(self, request: ProvisionRequest) -> dict[str, Any]:
        if request.product_type != ProductType.BARE_METAL:
            raise PermanentError("The Ironic adapter opens bare-metal servers only.")
        if int(request.spec.get("ip_count") or 1) > 1:
            raise PermanentError("The Ironic adapter delivers one address only.")
        body = {
            "uuid": str(request.key),
            "name": f"pickup-{request.key.hex}",
            "resource_class": self._resource_class(request.spec),
            "extra": {"pickup_owner": self.key, "pickup_number": request.order_number},
        }
        answer = self.api.call("POST", "/allocations", body)
        if answer.status not in (201, 409):  # 409: a worker was faster, or our own create whose answer was lost
            raise self.api.refusal(answer)
        allocation = self._allocation(str(request.key))
        if allocation is None:
            raise OutcomeUnknown("Ironic does not know the allocation that it took.")
        return allocation

    def _deploy(self, node: dict[str, Any], request: ProvisionRequest) -> None:
        self._address(node)  # before anything is written to its disk
        info = self.images.get(request.image, {"image_source": request.image})
        hostname = request.hostname or request.order_number.lower()
        info = info | {"display_name": hostname}
        changes = [{"op": "add", "path": f"/instance_info/{name}", "value": value} for name, value in info.items()]
        answer = self.api.call("PATCH", f"/nodes/{node['uuid']}", changes)
        if answer.status == 409:
            return  # locked: another worker is deploying it, or Ironic is looking at its power
        if answer.status != 200:
            raise self.api.refusal(answer)
        drive = {
            "meta_data": {"uuid": str(request.key), "hostname": hostname, "name": hostname},
            "user_data": user_data(
                password=request.password,
                ssh_key=request.ssh_key,
                hostname=hostname,
                windows=request.os_family == OSFamily.WINDOWS,
            ),
        }
        self._provision(node, {"target": "active", "configdrive": drive})

    def _provision(self, node: dict[str, Any], body: dict[str, Any]) -> None:
        """Ask for a change of state; "locked" or "in progress" is somebody's at work on it already."""
        answer = self.api.call("PUT", f"/nodes/{node['uuid']}/states/provision", body)
        if answer.status not in (200, 202, 409):
            raise self.api.refusal(answer)

    def _power(self, external_id: str, target: str) -> None:
        def reached() -> bool:
            allocation = self._allocation(external_id)
            node = self._node(allocation) if allocation else None
            if node is None:
                raise PermanentError("Ironic has no such server.")
            if node["power_state"] == target and not node["target_power_state"]:
                return True
            if not node["target_power_state"]:
                answer = self.api.call("PUT", f"/nodes/{node['uuid']}/states/power", {"target": target})
                if answer.status not in (202, 409):
                    raise self.api.refusal(answer)
            return False

        if not self._within_timeout(reached):
            raise OutcomeUnknown("The node's power has not changed yet.")

    # --- looking ------------------------------------------------------------------------------------------------
    def _allocation(self, external_id: str) -> dict[str, Any] | None:
        try:
            UUID(external_id)
        except ValueError:
            return None
        allocation = self.api.get(f"/allocations/{external_id}")
        if allocation and (allocation.get("extra") or {}).get("pickup_owner") != self.key:
            raise PermanentError("Ironic has an allocation of that key that is not ours.")
        return allocation

    def _node(self, allocation: dict[str, Any]) -> dict[str, Any] | None:
        """The allocated node, None while there is none. Another order's node is an error."""
        if allocation["state"] != "active" or not allocation.get("node_uuid"):
            return None
        node = self.api.get(f"/nodes/{allocation['node_uuid']}")
        if node is None or node["allocation_uuid"] != allocation["uuid"]:
            raise OutcomeUnknown("Node and allocation do not agree.")
        return node

    def _drop(self, external_id: str) -> None:
        answer = self.api.call("DELETE", f"/allocations/{external_id}")
        if answer.status not in (204, 404):
            raise self.api.refusal(answer)

    def _within_timeout(self, reached: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + self.api.timeout
        while not reached():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    @staticmethod
    def _state(allocation: dict[str, Any], node: dict[str, Any] | None) -> ResourceState:
        if node is None:
            return "failed" if allocation["state"] == "error" else "building"
        if node["provision_state"] == "active":
            return "suspended" if node["power_state"] == "power off" else "active"
        return "building" if node["provision_state"] in BUILDING else "failed"

    def _facts(self, node: dict[str, Any]) -> dict[str, Any]:
        """What Ironic knows of the machine; its properties are in MB and GB of binary."""
        properties, info, extra = node["properties"], node["instance_info"], node["extra"]
        facts = {
            "server_model": self._model(str(node["resource_class"])),
            "cpu": extra.get("cpu"),
            "memory_gb": int(properties["memory_mb"]) // 1024 if properties.get("memory_mb") else None,
            "disks": extra.get("disks"),
            "hostname": info.get("display_name"),
            "image": info.get("image_source"),
            "address": extra.get("address"),
        }
        return {name: value for name, value in facts.items() if value}

    def _resource_class(self, spec: dict[str, Any]) -> str:
        model = str(spec["server_model"])
        return str(self.classes.get(model) or re.sub(r"[^A-Za-z0-9_.-]", "-", model))

    def _model(self, resource_class: str) -> str:
        return next((model for model, own in self.classes.items() if own == resource_class), resource_class)

    @staticmethod
    def _address(node: dict[str, Any]) -> str:
        if not node["extra"].get("address"):
            raise PermanentError(f"Ironic's node {node['uuid']} has no extra.address: members could not reach it.")
        return str(node["extra"]["address"])
