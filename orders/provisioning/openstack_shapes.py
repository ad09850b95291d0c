"""What a frozen specification is at Nova and Glance: flavor, image, quota. And back: what a server turned out to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from .base import PermanentError
from .openstack_sdk import OpenStackApi

KILOBYTES_PER_MBPS = 125
RATES = ("quota:vif_inbound_average", "quota:vif_outbound_average")  # of a flavor, in kilobytes a second


class Shapes:
    """What one project may choose from."""

    def __init__(self, api: OpenStackApi, flavors: Iterable[str], limit_bandwidth: bool) -> None:
        self.api, self.flavors, self.limit_bandwidth = api, frozenset(flavors), limit_bandwidth

    def flavor(self, spec: Mapping[str, Any]) -> str:
        """The one that is exactly what was sold. A larger one is not: what is bought is what is delivered."""
        fits = [flavor for flavor in self._flavors() if _size(flavor) == _sold(spec)]
        if self.limit_bandwidth:
            fits = [flavor for flavor in fits if self._bandwidth(flavor) == int(spec["bandwidth_mbps"])]
        if len(fits) == 1:
            return str(fits[0]["id"])
        cores, memory, disk, second = _sold(spec)
        size = f"{cores} cores, {memory} MB, {disk} GB disk, {second} GB second disk"
        if self.limit_bandwidth:
            size += f", {' and '.join(RATES)} of {int(spec['bandwidth_mbps']) * KILOBYTES_PER_MBPS}"
        if fits:
            names = ", ".join(sorted(str(flavor["name"]) for flavor in fits))
            raise PermanentError(f"Several flavors are {size}: {names}. Name the one that is meant in `flavors`.")
        raise PermanentError(f"No flavor is exactly {size}.")

    def image(self, reference: str) -> str:
        """Its UUID, from a UUID or a name that is one image's alone."""
        found = self._images_called(reference)
        usable = [image for image in found if image["status"] == "active"]
        if len(usable) == 1:
            return str(usable[0]["id"])
        trouble = "more than one image" if usable else "no active image" if found else "no image"
        raise PermanentError(f"Glance has {trouble} {reference!r}.")

    def over_quota(self, spec: Mapping[str, Any]) -> bool:
        """Whether the project has no room for it. Nova answers 403 to that as it does to what is not allowed."""
        limits = ((self.api.get("/limits") or {}).get("limits") or {}).get("absolute") or {}
        for most, used, needed in (
            ("maxTotalInstances", "totalInstancesUsed", 1),
            ("maxTotalCores", "totalCoresUsed", int(spec["cpu_cores"])),
            ("maxTotalRAMSize", "totalRAMUsed", int(spec["memory_gb"]) * 1024),
        ):
            limit = int(limits.get(most, -1))
            if limit >= 0 and int(limits.get(used, 0)) + needed > limit:
                return True
        return False

    def flavor_names(self) -> list[str]:
        return sorted(str(flavor["name"]) for flavor in self._flavors())

    def image_names(self) -> list[str]:
        images = self.api.pages("/images?status=active", "images", service="image")
        return sorted(str(image["name"]) for image in images)

    def _flavors(self) -> list[dict[str, Any]]:
        found = self.api.pages("/flavors/detail", "flavors")
        return [flavor for flavor in found if not self.flavors or flavor["name"] in self.flavors]

    def _bandwidth(self, flavor: Mapping[str, Any]) -> int | None:
        specs = self.api.get(f"/flavors/{quote(str(flavor['id']), safe='')}/os-extra_specs") or {}
        return _mbps(specs.get("extra_specs") or {})

    def _images_called(self, reference: str) -> list[dict[str, Any]]:
        try:
            found = self.api.get(f"/images/{UUID(reference)}", service="image")
            return [found] if found else []
        except ValueError:
            pages = self.api.pages(f"/images?name={quote(reference, safe='')}", "images", service="image")
            return [image for image in pages if image["name"] == reference]


def facts_of(server: Mapping[str, Any], *, cards: int) -> dict[str, Any]:
    """What Nova says that the server is, under the names of the specification's fields."""
    flavor, addresses = server["flavor"], addresses_of(server)
    facts = {
        "cpu_cores": flavor["vcpus"],
        "memory_gb": flavor["ram"] // 1024 if flavor["ram"] % 1024 == 0 else flavor["ram"] / 1024,
        "system_disk_gb": flavor["disk"],
        "data_disk_gb": flavor["ephemeral"],
        "bandwidth_mbps": _mbps(flavor.get("extra_specs") or {}),
        "ip_count": max(0, len(addresses) - (cards - 1)),
        "hostname": server["name"],
        "address": addresses[0] if addresses else "",
        "image": (server.get("image") or {}).get("id"),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", 0)}


def unlike(facts: Mapping[str, Any], spec: Mapping[str, Any], *, bandwidth: bool) -> str:
    """In what the server differs from what was sold, in words; empty if in nothing."""
    names = ["cpu_cores", "memory_gb", "system_disk_gb", "data_disk_gb", "ip_count"]
    names += ["bandwidth_mbps"] if bandwidth else []
    sold = {name: int(spec.get(name) or (name == "ip_count")) for name in names}
    return ", ".join(
        f"{name} {facts.get(name, 0)} instead of {value}" for name, value in sold.items() if facts.get(name, 0) != value
    )


def addresses_of(server: Mapping[str, Any]) -> list[str]:
    """Its IPv4 addresses, else its IPv6 ones, in its cards' order; a floating one stands for the one behind it."""
    found = [one for card in server["addresses"].values() for one in card]
    for version in (4, 6):
        own = [one for one in found if one["version"] == version]
        floating = [one for one in own if one.get("OS-EXT-IPS:type") == "floating"]
        fixed = [one for one in own if one not in floating]
        if own:
            return [str(one["addr"]) for one in [*floating, *fixed[len(floating) :]]]
    return []


def _sold(spec: Mapping[str, Any]) -> tuple[int, int, int, int]:
    gigabytes = int(spec["memory_gb"]), int(spec["system_disk_gb"]), int(spec.get("data_disk_gb") or 0)
    return int(spec["cpu_cores"]), gigabytes[0] * 1024, gigabytes[1], gigabytes[2]


def _size(flavor: Mapping[str, Any]) -> tuple[int, int, int, int]:
    second = flavor.get("OS-FLV-EXT-DATA:ephemeral") or 0
    return int(flavor["vcpus"]), int(flavor["ram"]), int(flavor["disk"]), int(second)


def _mbps(extra_specs: Mapping[str, str]) -> int | None:
    """The limit that both directions share, None if there is none."""
    rates = {extra_specs.get(name) for name in RATES}
    rate = rates.pop() if len(rates) == 1 else None
    return int(rate) // KILOBYTES_PER_MBPS if rate and int(rate) % KILOBYTES_PER_MBPS == 0 else None
