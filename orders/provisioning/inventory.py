"""What an adapter may ask of the portal where no control plane keeps the inventory: which machine is an order's.

The adapter sees this contract and nothing of the tables behind it; the registry hands it in (`orders.machines` keeps
the real one). Each call is one short transaction of its own, over before anything is sent to a machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from .base import Provisioner, ProvisionRequest


@dataclass(frozen=True)
class AssignedMachine:
    """One machine as its order holds it; `begun`, `phoned` and `opened` are what was noted since it was assigned."""

    id: int
    name: str  # for messages and staff: the serial number
    server_model: str
    url: str  # of its controller, https://...
    system: str  # the path of the system there, /redfish/v1/Systems/...
    username: str
    password: str = field(repr=False)
    address: str  # what the member is given
    more_addresses: tuple[str, ...] = ()
    seed_path: str = field(default="", repr=False)  # where the portal serves its first-boot settings; a capability
    begun: bool = False
    phoned: bool = False
    opened: bool = False


class Inventory(ABC):
    """The machines of one provisioner."""

    @abstractmethod
    def assign(self, request: ProvisionRequest) -> AssignedMachine:
        """The order's machine: the one it holds, else a free one of the model that was sold, held from now on.

        Raises `NoCapacity` when none is free, `PermanentError` when the order is not being opened any more.
        """

    @abstractmethod
    def of(self, key: UUID) -> AssignedMachine | None:
        """The machine that the order of this key holds."""

    @abstractmethod
    def keys(self) -> list[UUID]:
        """The keys of the orders that hold machines."""

    @abstractmethod
    def note_begun(self, key: UUID) -> None:
        """It runs what was put into it: from now on nothing is ever installed on it again for this order."""

    @abstractmethod
    def note_opened(self, key: UUID) -> None:
        """It is the member's: from now on `ensure` changes nothing on it."""

    @abstractmethod
    def hand_back(self, key: UUID) -> None:
        """Nothing was done to it: it is free again, behind the others."""

    @abstractmethod
    def set_aside(self, key: UUID, why: str) -> None:
        """Something is wrong with it: nobody gets it until a person has looked. The order holds none any more."""

    @abstractmethod
    def give_up(self, key: UUID) -> None:
        """It was a member's and is no longer: to be cleaned by people. None held is success."""

    @abstractmethod
    def free(self) -> dict[str, int]:
        """How many machines of each model are free."""

    @abstractmethod
    def sample(self, count: int) -> Sequence[AssignedMachine]:
        """Some machines to see whether they answer, those first that would be given out next."""


class InventoryProvisioner(Provisioner):
    """An adapter whose machines stand in the portal's inventory."""

    inventory: Inventory  # set by the registry
