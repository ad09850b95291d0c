"""Cloud servers as LXD instances. LXD has no idempotency key: the instance's name is made of the order's key, and the
order is written into the instance's own configuration, which is read back before anything is adopted."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote
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
    ProvisionRequest,
    Ready,
    ResourceState,
    TransientError,
    scrub,
)
from .cloud_init import login
from .http import Http

GIB = 1024**3
ORDER, OWNER = "user.pickup_order", "user.pickup_owner"
ADDRESS, HOSTNAME = "user.pickup_address", "user.pickup_hostname"  # as they were read back from inside
# Reads "root:password" from a file that only root can read, and removes it whatever happens. The image's own keys stay.
SET_UP = """
chpasswd < "$F"; s=$?; rm -f "$F"; [ $s = 0 ] || exit 1
if [ -n "$K" ]; then
    umask 077; mkdir -p /root/.ssh || exit 1
    grep -qxF "$K" /root/.ssh/authorized_keys 2>/dev/null || echo "$K" >> /root/.ssh/authorized_keys || exit 1
fi
echo "$H" > /etc/hostname && chmod 644 /etc/hostname && hostname "$H" && [ "$(hostname)" = "$H" ]
"""


class Failed(OutcomeUnknown):
    """LXD answered, but that it failed."""


class LxdProvisioner(Provisioner):
    """OPTIONS: `url`, `cert_file` and `key_file` (a client certificate that LXD trusts), `ca_file` (LXD's server
    certificate), `profile` (default "default": gives the root disk and the network card), `limit_bandwidth`
    (default true; false where the kernel cannot, or the network does it), `timeout` (seconds)."""

    option_names = frozenset({"url", "cert_file", "key_file", "ca_file", "profile", "limit_bandwidth", "timeout"})

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        super().__init__(key, options)
        self.url = str(options.get("url", "")).rstrip("/")
        if not self.url.startswith("https://"):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: url must be an https:// address.")
        self.profile = str(options.get("profile", "default"))
        self.limit_bandwidth = bool(options.get("limit_bandwidth", True))
        self.timeout = float(options.get("timeout", 20))
        try:
            self.http = Http(
                timeout=self.timeout + 2,  # LXD itself waits for `timeout`
                allow_private=True,
                ca_file=options.get("ca_file"),
                client_cert=(str(options.get("cert_file")), str(options.get("key_file"))),
            )
        except OSError as error:
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: certificates cannot be read: {error}") from error

    def ensure(self, request: ProvisionRequest) -> Outcome:
        name = _name(request.key)
        instance = self._instance(name, request.key) or self._create(name, request)
        if not instance["config"].get(ADDRESS):
            if self._busy(name):
                return InProgress(name, timedelta(seconds=2))
            if instance["status"] != "Running":
                self._act(name, "start")
            hostname = self._set_up(name, request)
            address = self._address(name)
            if address is None:
                return InProgress(name, timedelta(seconds=2))
            with suppress(Failed):  # as when another worker writes the same; what is kept now decides
                self._call("PATCH", f"instances/{name}", {"config": {ADDRESS: address, HOSTNAME: hostname}})
            instance = self._instance(name, request.key) or {}
        try:
            address = str(instance["config"][ADDRESS])
        except KeyError:
            raise TransientError("LXD did not keep the instance's address.") from None
        access = login(address, password=request.password, windows=False)
        return Ready(name, access, self._facts(instance))

    def suspend(self, external_id: str) -> None:
        if self._known(external_id)["status"] != "Stopped":
            self._act(external_id, "stop")

    def resume(self, external_id: str) -> None:
        if self._known(external_id)["status"] != "Running":
            self._act(external_id, "start")

    def terminate(self, external_id: str) -> None:
        instance = self._instance(external_id)
        if instance is None:
            return
        if instance["status"] != "Stopped":
            self._act(external_id, "stop")
        self._call("DELETE", f"instances/{quote(external_id, safe='')}")
        if self._instance(external_id) is not None:
            raise TransientError("LXD still lists the instance that it was told to delete.")

    def find(self, key: UUID) -> Found | None:
        instance = self._instance(_name(key), key)
        if instance is None:
            return None
        state: ResourceState = "active" if instance["status"] == "Running" else "suspended"
        if not instance["config"].get(ADDRESS):
            state = "building"
        return Found(instance["name"], state, self._facts(instance))

    def list_keys(self) -> Iterable[UUID]:
        instances = self._call("GET", "instances?recursion=1") or []
        marks = [instance["config"] for instance in instances]
        return [UUID(mark[ORDER]) for mark in marks if mark.get(OWNER) == self.key and ORDER in mark]

    def check(self) -> list[str]:
        server = self._call("GET", "") or {}
        if server.get("auth") != "trusted":
            raise PermanentError("LXD does not trust the client certificate.")
        aliases = [alias["name"] for alias in self._call("GET", "images/aliases?recursion=1") or []]
        version = server["environment"]["server_version"]
        return [f"LXD {version}, {len(list(self.list_keys()))} resources", f"images: {', '.join(aliases) or 'none'}"]

    # --- steps of opening ---------------------------------------------------------------------------------------
    def _create(self, name: str, request: ProvisionRequest) -> dict[str, Any]:
        if request.product_type != ProductType.CLOUD_SERVER:
            raise PermanentError("The LXD adapter opens cloud servers only.")
        spec = request.spec
        if int(spec.get("data_disk_gb") or 0) or int(spec.get("ip_count") or 1) > 1:
            raise PermanentError("The LXD adapter delivers neither a data disk nor more than one address.")
        if self._call("GET", f"images/aliases/{quote(request.image, safe='')}") is None:
            raise PermanentError(f"LXD has no image {request.image!r}.")
        body = {
            "name": name,
            "source": {"type": "image", "alias": request.image},
            "profiles": [self.profile],
            "config": {
                "limits.cpu": str(spec["cpu_cores"]),
                "limits.memory": f"{spec['memory_gb']}GiB",
                ORDER: str(request.key),
                OWNER: self.key,
                "user.pickup_number": request.order_number,
            },
            "devices": self._devices(spec),
        }
        try:
            self._call("POST", "instances", body)
        except (TransientError, Failed) as refusal:
            # Also how LXD says that another worker was faster; what exists now decides.
            instance = self._instance(name, request.key)
            if instance is None:
                raise self._full(spec) or refusal from None
            return instance
        instance = self._instance(name, request.key)
        if instance is None:
            raise OutcomeUnknown("LXD does not list the instance that it made.")
        return instance

    def _devices(self, spec: dict[str, Any]) -> dict[str, dict[str, str]]:
        """The profile's root disk and network card, with what was sold."""
        profile = self._call("GET", f"profiles/{quote(self.profile, safe='')}")
        if profile is None:
            raise PermanentError(f"LXD has no profile {self.profile!r}.")
        devices: dict[str, dict[str, str]] = {}
        for label, device in profile["devices"].items():
            if device.get("type") == "disk" and device.get("path") == "/":
                devices[label] = device | {"size": f"{spec['system_disk_gb']}GiB"}
            elif device.get("type") == "nic" and self.limit_bandwidth and spec.get("bandwidth_mbps"):
                speed = f"{spec['bandwidth_mbps']}Mbit"
                devices[label] = device | {"limits.ingress": speed, "limits.egress": speed}
        return devices

    def _full(self, spec: dict[str, Any]) -> NoCapacity | None:
        """Why there is no room for what was sold, if that is so: by LXD's numbers, not by its English."""
        limits = ((self._call("GET", "projects/default/state") or {}).get("resources")) or {}
        need = {"instances": 1, "containers": 1, "cpu": int(spec["cpu_cores"])}
        need |= {"memory": int(spec["memory_gb"]) * GIB, "disk": int(spec["system_disk_gb"]) * GIB}
        for name, amount in need.items():
            limit = limits.get(name) or {}
            if limit.get("Limit", -1) >= 0 and limit["Usage"] + amount > limit["Limit"]:
                return NoCapacity(f"Our quota at LXD is used up: {name}.")
        for device in self._devices(spec).values():
            if device.get("type") == "disk":
                resources = self._call("GET", f"storage-pools/{quote(device['pool'], safe='')}/resources") or {}
                space = resources.get("space") or {}
                if space.get("total") and space["total"] - space.get("used", 0) < need["disk"]:
                    return NoCapacity("LXD's storage pool has less room left than was sold.")
        return None

    @staticmethod
    def _facts(instance: dict[str, Any]) -> dict[str, Any]:
        """What LXD itself holds the instance to."""
        config = instance["config"]
        devices: list[dict[str, str]] = list((instance.get("expanded_devices") or instance["devices"]).values())
        disk: dict[str, str] = next(
            (one for one in devices if one.get("type") == "disk" and one.get("path") == "/"), {}
        )
        card: dict[str, str] = next((one for one in devices if one.get("type") == "nic"), {})
        slower = min(_amount(card.get(f"limits.{way}"), "Mbit") or 0 for way in ("ingress", "egress"))
        facts = {
            "cpu_cores": _amount(config.get("limits.cpu"), ""),
            "memory_gb": _amount(config.get("limits.memory"), "GiB"),
            "system_disk_gb": _amount(disk.get("size"), "GiB"),
            "bandwidth_mbps": slower,
            "hostname": config.get(HOSTNAME),
            "address": config.get(ADDRESS),
            "image": config.get("image.description"),
        }
        return {name: value for name, value in facts.items() if value}

    def _set_up(self, name: str, request: ProvisionRequest) -> str:
        """Password, key and host name, from inside; the host name as it was then found there. All are the same at every
        attempt, so twice is as good as once."""
        hostname = request.hostname or request.order_number.lower()
        path = f"/root/.pickup-{secrets.token_hex(8)}"
        headers = {"X-LXD-type": "file", "X-LXD-uid": "0", "X-LXD-gid": "0", "X-LXD-mode": "0600"}
        line = f"root:{request.password}\n".encode()
        answer = self.http.send(
            "POST", f"{self.url}/1.0/instances/{name}/files?path={quote(path, safe='')}", body=line, headers=headers
        )
        if answer.status != 200:
            raise TransientError(f"LXD did not take the set-up file (status {answer.status}).")
        command = {
            "command": ["/bin/sh", "-c", SET_UP],
            "environment": {"F": path, "H": hostname, "K": request.ssh_key},
            "wait-for-websocket": False,
            "interactive": False,
        }
        done = self._call("POST", f"instances/{name}/exec", command) or {}
        if (done.get("metadata") or {}).get("return") != 0:
            raise TransientError("The instance could not be given its password, key and host name.")
        return hostname

    def _address(self, name: str) -> str | None:
        state = self._call("GET", f"instances/{name}/state") or {}
        for card, network in sorted((state.get("network") or {}).items()):
            for entry in network["addresses"]:
                if card != "lo" and entry["family"] == "inet" and entry["scope"] == "global":
                    return str(entry["address"])
        return None

    def _act(self, name: str, action: str) -> None:
        body = {"action": action, "timeout": int(self.timeout), "force": action == "stop"}
        self._call("PUT", f"instances/{quote(name, safe='')}/state", body)

    def _busy(self, name: str) -> bool:
        """Whether LXD is still carrying something out on it: our create whose answer was lost, or another worker's."""
        running = (self._call("GET", "operations?recursion=1") or {}).get("running") or []
        path = f"/1.0/instances/{name}"
        return any(path in ((operation.get("resources") or {}).get("instances") or []) for operation in running)

    # --- looking ------------------------------------------------------------------------------------------------
    def _instance(self, name: str, key: UUID | None = None) -> dict[str, Any] | None:
        """None if there is none; an instance without our mark is somebody else's and an error."""
        found = self._call("GET", f"instances/{quote(name, safe='')}")
        if found is None:
            return None
        mark = found["config"].get(ORDER)
        if found["config"].get(OWNER) != self.key or mark is None or (key is not None and mark != str(key)):
            raise PermanentError(f"LXD has an instance {name} that is not this order's.")
        return dict(found)

    def _known(self, name: str) -> dict[str, Any]:
        instance = self._instance(name)
        if instance is None:
            raise PermanentError(f"LXD has no instance {name}.")
        return instance

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer's metadata, after waiting for the operation if there is one; None for 404 to a GET."""
        data = json.dumps(body).encode() if body is not None else b""
        answer = self.http.send(method, f"{self.url}/1.0/{path}".rstrip("/"), body=data)
        if answer.status == 404 and method == "GET":
            return None
        content = answer.json()
        if not isinstance(content, dict):
            raise OutcomeUnknown(f"LXD's answer (status {answer.status}) cannot be read.")
        if answer.status == 403:
            raise PermanentError("LXD does not trust the client certificate.")
        if answer.status >= 500 and method != "GET":
            raise Failed(f"LXD failed (status {answer.status}): {scrub(str(content.get('error')), limit=160)}")
        if answer.status == 400 and (method, path) == ("POST", "instances"):
            raise PermanentError(f"LXD refused: {scrub(str(content.get('error')))}")
        if answer.status >= 400:
            raise TransientError(f"LXD refused: {scrub(str(content.get('error')))}")
        if content.get("type") != "async":
            return content.get("metadata")
        wait = f"{self.url}{content['operation']}/wait?timeout={int(self.timeout)}"
        operation = self.http.send("GET", wait).json().get("metadata") or {}
        if operation.get("status") == "Success":
            return operation
        if operation.get("status") in ("Failure", "Cancelled"):
            raise TransientError(f"LXD: {scrub(str(operation.get('err')))}")
        raise OutcomeUnknown("LXD is still at work.")


def _amount(text: object, unit: str) -> int | None:
    found = re.fullmatch(rf"(\d+){unit}", str(text))
    return int(found[1]) if found else None


def _name(key: UUID) -> str:
    return f"pickup-{key.hex}"
