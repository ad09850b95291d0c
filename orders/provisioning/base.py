"""The contract between orders and control planes.

Level-triggered, like a reconciler: `ensure` is called with the same request again and again until it answers `Ready`,
by whichever worker holds the order. The same key must always mean the same resource, whatever was lost on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Literal
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

ResourceState = Literal["building", "active", "suspended", "failed"]
FULL = "No capacity:"


@dataclass(frozen=True)
class ProvisionRequest:
    """What was sold, frozen with the order. The portal chooses the password, so no answer needs to carry one."""

    key: UUID  # the order's; the idempotency key at the control plane
    order_number: str
    product_type: str
    spec: dict[str, Any] = field(hash=False)
    term_months: int
    image: str  # the control plane's own reference; empty where there is no operating system to choose
    os_name: str
    os_family: str  # linux | windows | empty
    hostname: str  # of a site: its address below our own hosting domain
    password: str = field(repr=False)
    domain: str = ""  # of a site: what it answers under, the member's own or the same as `hostname`; else empty
    ssh_key: str = ""  # the member's public key in OpenSSH's one-line form, or empty


@dataclass(frozen=True)
class InProgress:
    """The control plane is at work; ask again after `check_after`."""

    external_id: str
    check_after: timedelta


@dataclass(frozen=True)
class Ready:
    """Open and read back. `access` is for the member's eyes only: it is sealed at rest and never logged.

    `facts` as in `Found`, from an adapter that has read them anyway.
    """

    external_id: str
    access: dict[str, str] = field(repr=False, hash=False)
    facts: dict[str, Any] = field(default_factory=dict, hash=False)


Outcome = InProgress | Ready


@dataclass(frozen=True)
class Found:
    """What `find` saw under a key.

    `facts` is what was delivered, as the control plane itself tells it, for the service page: numbers and short texts
    under the names of the spec's fields (`cpu_cores`, `memory_gb`, ...), and `hostname`, `address`, `image`. No secret.
    """

    external_id: str
    state: ResourceState
    facts: dict[str, Any] = field(default_factory=dict, hash=False)


def one_line(text: str) -> str:
    """`text` without what no row can hold or what would begin a new line of a log, such as NUL, line ends, half of a
    character, or a turn of the writing direction: a control plane's words may hold anything."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


class ProvisionerError(Exception):
    """The text is kept with the order and read by staff: never a password, a token or a raw answer in it."""

    def __init__(self, text: str = "") -> None:
        super().__init__(one_line(text))


class TransientError(ProvisionerError):
    """Nothing was made, and the same request may succeed later."""


class NoCapacity(TransientError):
    """The control plane is full, or our quota there is used up. It may have room again, or staff add some.

    Its text begins with `FULL`: attempts are kept as texts, and staff are told this one apart.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"{FULL} {text}")


class PermanentError(ProvisionerError):
    """Refused for good: asking again changes nothing, a person must look."""


class OutcomeUnknown(ProvisionerError):
    """The request may or may not have been carried out (time-out, reset, 5xx). `ensure` again looks before it makes."""


class BadCallback(Exception):
    """A callback that is not signed by the control plane, or cannot be read."""


class Provisioner(ABC):
    """One control plane. Instances are cheap, hold no order's state, and never touch the portal's database; one that
    needs the portal's inventory of machines asks it through `inventory.Inventory`.

    Every method may be called by several processes at once, and raises nothing but `ProvisionerError`s.
    """

    option_names: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        if unknown := sorted(set(options) - self.option_names):
            raise ImproperlyConfigured(
                f"PROVISIONERS[{key!r}]: unknown OPTIONS {', '.join(unknown)}. "
                f"Known: {', '.join(sorted(self.option_names)) or 'none'}."
            )
        self.key = key
        self.options = options

    @abstractmethod
    def ensure(self, request: ProvisionRequest) -> Outcome:
        """Look up `request.key`; adopt what is there, else create it. `Ready` only after reading it back."""

    @abstractmethod
    def suspend(self, external_id: str) -> None:
        """Stop it, keep its data. Suspending twice is success; an unknown id is a `PermanentError`."""

    @abstractmethod
    def resume(self, external_id: str) -> None:
        """Undo `suspend`. Resuming twice is success; an unknown id is a `PermanentError`."""

    @abstractmethod
    def terminate(self, external_id: str) -> None:
        """Remove it with its data. Gone already, or never known, is success."""

    def set_domain(self, external_id: str, domain: str) -> None:
        """Have a site answer under `domain` from now on. Twice is success; an unknown id is a `PermanentError`."""
        raise PermanentError("This provisioner cannot change a site's domain. Change it there by hand.")

    @abstractmethod
    def find(self, key: UUID) -> Found | None:
        """What exists under this key, without creating anything. A terminated resource is not found."""

    @abstractmethod
    def list_keys(self) -> Iterable[UUID]:
        """The keys of everything of ours that exists there, to list orphans."""

    def callback_key(self, headers: Mapping[str, str], body: bytes) -> UUID:
        """The order that a signed callback speaks of; whatever else it says is not believed. Raises `BadCallback`."""
        raise BadCallback("This control plane sends no callbacks.")

    @abstractmethod
    def check(self) -> list[str]:
        """Connect and authenticate without creating anything; lines for staff. Trouble is a `ProvisionerError`."""


def scrub(text: str, *secrets: str, limit: int = 300) -> str:
    """`text` fit for a log or a row: without the secrets, and short."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[hidden]")
    return text[:limit]
