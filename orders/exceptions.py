"""What redemption and orders refuse, each with a message fit for the person who sees it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cards.actions import says_too_late

if TYPE_CHECKING:
    from .models import Order


class OrderError(Exception):
    """Base of what staff actions on orders refuse."""


class WrongState(OrderError):
    def __str__(self) -> str:
        return _("The order's state does not allow this any more. Reload the page to see how it stands.")


class ResourceRemains(OrderError):
    def __str__(self) -> str:
        return _(
            "The product could not be removed at the provider, so the order was not cancelled. "
            "Try again, or remove it by hand first."
        )


class ExistsThere(OrderError):
    def __str__(self) -> str:
        return _("The provider already holds a product for this order. Restart the order: that adopts it.")


class ResourceTaken(OrderError):
    def __str__(self) -> str:
        return _("Another service has this ID at the provisioner already.")


class ServiceExpired(OrderError):
    def __str__(self) -> str:
        return _("The term of this service has ended. Extend it first, then it can be resumed.")


class WrongMember(OrderError):
    def __str__(self) -> str:
        return _("The state of this member does not allow this. Reload the page to see how it stands.")


class AlreadyCorrected(OrderError):
    def __str__(self) -> str:
        return _("This top-up has been corrected already.")


class SpentAlready(OrderError):
    """`left` is all that the balance holds, in the portal's currency."""

    def __init__(self, left: Decimal) -> None:
        self.left = left
        super().__init__(left)

    def __str__(self) -> str:
        return _("The balance is only %(left)s: no more than that can be taken back.") % {"left": f"{self.left:,.2f}"}


class NotLater(OrderError):
    def __str__(self) -> str:
        return _("The new end must be later than the present one and in the future.")


class TooLate(OrderError):
    def __str__(self) -> str:
        return says_too_late()


class MachineError(OrderError):
    """Base of what the inventory of machines refuses."""


class MachineTaken(MachineError):
    def __init__(self, serial: str) -> None:
        self.serial = serial
        super().__init__(serial)

    def __str__(self) -> str:
        return _(
            "Machine %(serial)s: its serial number, its IP address or its system at this controller is in the "
            "inventory already."
        ) % {"serial": self.serial}


class MachineInUse(MachineError):
    def __str__(self) -> str:
        return _("An order holds this machine: only its login and the note can be changed.")


class OrderNotSettled(MachineError):
    def __init__(self, number: str) -> None:
        self.number = number
        super().__init__(number)

    def __str__(self) -> str:
        return _(
            "Order %(number)s holds this machine and is not settled. Wait until it is open, or cancel or settle it; "
            "then take the machine out."
        ) % {"number": self.number}


class LoginNeeded(MachineError):
    def __str__(self) -> str:
        return _("The login that is kept belongs to the controller at the old address: type it again for the new one.")


class WrongMachineState(MachineError):
    def __str__(self) -> str:
        return _("The machine's state does not allow this any more. Reload the page to see how it stands.")


class RedemptionRefused(Exception):
    """Base: nothing was spent. `field` is the form field the message belongs to."""

    field = "code"

    def parts(self) -> list[RedemptionRefused]:
        """One refusal for each field."""
        return [self]


class SeveralRefused(RedemptionRefused):
    """Several fields are wrong at once."""

    def __init__(self, refusals: list[RedemptionRefused]) -> None:
        self.refusals = refusals
        super().__init__(*refusals)

    def parts(self) -> list[RedemptionRefused]:
        return self.refusals

    def __str__(self) -> str:
        return "\n".join(map(str, self.refusals))


class Together:
    """`with together: ...` around each check keeps its refusal; `together.refuse()` then says all of them at once."""

    def __init__(self) -> None:
        self.found: list[RedemptionRefused] = []

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, RedemptionRefused):
            return False
        self.found += error.parts()
        return True

    def refuse(self) -> None:
        if len(self.found) > 1:
            raise SeveralRefused(self.found)
        for refusal in self.found:
            raise refusal


# By kind; the field says them too, before anything is sent (static/code.js).
MISTYPED = {
    "empty": gettext_lazy("Please enter the code of your card."),
    "length": gettext_lazy("A card code has 25 characters in five groups of five. Please check that none is missing."),
    "symbol": gettext_lazy(
        "Group %(group)d holds a character that no card code has. "
        "Codes are made of digits and letters, without I, L, O and U."
    ),
    "check": gettext_lazy("This code has a typing mistake. Please compare it with your card, group by group."),
}


class MistypedCode(RedemptionRefused):
    """The text cannot be a code; said before any look-up, because it helps typing and tells a guesser nothing."""

    def __init__(self, kind: str, group: int | None = None) -> None:
        self.kind = kind
        self.group = group
        super().__init__(kind)

    def __str__(self) -> str:
        return MISTYPED[self.kind] % {"group": self.group}


class UnknownCode(RedemptionRefused):
    """The one plain refusal."""

    def __str__(self) -> str:
        return _("We do not know this code. Please compare it with your card; if it is right, ask the seller.")


class CardAlreadyUsed(RedemptionRefused):
    def __init__(self, used_at: datetime) -> None:
        self.used_at = used_at
        super().__init__(used_at)

    def __str__(self) -> str:
        return _("This card was used on %(day)s. A card works once; if it was not you, ask the seller.") % {
            "day": _day(self.used_at)
        }


class CardExpired(RedemptionRefused):
    def __init__(self, last_day: datetime) -> None:
        self.last_day = last_day
        super().__init__(last_day)

    def __str__(self) -> str:
        return _("This card was valid until %(day)s and has expired. Please ask the seller.") % {
            "day": formats.date_format(self.last_day, "DATE_FORMAT")
        }


class CardDisabled(RedemptionRefused):
    def __str__(self) -> str:
        return _("This card has been disabled by the seller. Please ask the seller.")


class AlreadyYours(RedemptionRefused):
    """The same member posts the same card again: here is his order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        super().__init__(order.number)

    def __str__(self) -> str:
        return _("You have used this card already. This is its order.")


class ImageNotOffered(RedemptionRefused):
    field = "image"

    def __str__(self) -> str:
        return _("Please choose one of the operating systems offered. Your card has not been used.")


class ChargeNotConfirmed(RedemptionRefused):
    """The member has not been told yet what he is about to pay, or it was another amount."""

    field = "image"

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount
        super().__init__(amount)

    def __str__(self) -> str:
        return _("This system costs extra. Please read below what will be charged, and confirm once more.")


class SoldOut(RedemptionRefused):
    def __init__(self, line: str) -> None:
        self.line = line
        super().__init__(line)

    def __str__(self) -> str:
        return _("The line %(line)s takes no orders at the moment. Your card has not been used; please try later.") % {
            "line": self.line
        }


class BadHostname(RedemptionRefused):
    field = "hostname"

    def __str__(self) -> str:
        return _(
            "A host name has letters, digits and hyphens, such as web-1. "
            "Leave it empty to have one chosen; your card has not been used."
        )


class BadDomain(RedemptionRefused):
    field = "domain"

    def __str__(self) -> str:
        return _("This is no domain of your own. It looks like www.example.com, without http:// and without a path.")


class DomainTaken(RedemptionRefused):
    field = "domain"

    def __str__(self) -> str:
        return _("This domain belongs to another site here already. If it is yours, please contact our staff.")


class NoSite(OrderError):
    def __str__(self) -> str:
        return _("The domain can be changed once the site is open, and as long as it runs.")


class BadSSHKey(RedemptionRefused):
    """`kind` is "form", "private", "weak" or "windows"."""

    field = "ssh_key"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)

    def __str__(self) -> str:
        if self.kind == "private":
            return _("This is the private half of a key. Keep it to yourself, and paste the public one (.pub) here.")
        if self.kind == "weak":
            return _("This kind of key is too weak. Use Ed25519, ECDSA, or RSA with at least 2048 bits.")
        if self.kind == "windows":
            return _("Windows takes no SSH key. Leave the field empty, or choose a Linux system.")
        return _("This is no SSH public key. It is one line that begins with ssh-ed25519, ecdsa-sha2 or ssh-rsa.")


class NoOwnLogin(RedemptionRefused):
    field = "password"

    def __str__(self) -> str:
        return _("A login of your own cannot be kept at the moment. Leave these fields empty to have one chosen.")


class BadPassword(RedemptionRefused):
    field = "password"

    def __str__(self) -> str:
        return _(
            "A server's password has 12 to 64 characters, with capital and small letters and digits, no spaces and "
            "no quotation marks, and is not a common one. Leave it empty to have one chosen."
        )


def _day(moment: datetime) -> str:
    return formats.date_format(timezone.localtime(moment), "DATE_FORMAT")
