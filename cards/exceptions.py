"""What cards refuses, each with a message fit for the person who sees it."""

from __future__ import annotations

from django.utils.translation import gettext as _


class CardError(Exception):
    """Base; `str()` is the message in the active language."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else _("This cannot be done with the card.")


class BadBatch(CardError):
    """The batch cannot be made as asked; `errors` maps a field to its messages."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{field}: {' '.join(texts)}" for field, texts in errors.items()))


class NotWhole(CardError):
    def __str__(self) -> str:
        return _("The cards of this batch are still being generated. Please try again when the batch is ready.")


class UsedCardStays(CardError):
    """Neither disabled nor enabled; `enable` says which was asked."""

    def __init__(self, *, enable: bool = False) -> None:
        self.enable = enable
        super().__init__()

    def __str__(self) -> str:
        if self.enable:
            return _("This card has been used. It can never be used again, so there is nothing to enable.")
        return _("This card has been used. A used card cannot be disabled.")


class NothingToChange(CardError):
    def __str__(self) -> str:
        return _("Nothing was changed: it is in that state already.")


class OnlyLater(CardError):
    def __str__(self) -> str:
        return _("The validity can only be extended: choose a day after the last valid day.")


class NotGenerating(CardError):
    def __str__(self) -> str:
        return _("No cards of this batch are being generated.")


class ChangedMeanwhile(CardError):
    def __str__(self) -> str:
        return _("The batch has changed since this page was opened. Nothing was done; please look again.")


class BatchExpired(CardError):
    def __str__(self) -> str:
        return _("This batch has expired. Extend its validity first.")


class WasCancelled(CardError):
    def __str__(self) -> str:
        return _("This batch was cancelled before it was whole. Nothing can be done with its cards.")


class UsedCardIsGone(CardError):
    def __str__(self) -> str:
        return _("This card has been used. A used card cannot be replaced.")


class AlreadyReplaced(CardError):
    def __str__(self) -> str:
        return _("This card was replaced by a new one. It stays disabled.")


class NothingToApprove(CardError):
    def __str__(self) -> str:
        return _("This batch does not wait for an approval any more.")


class AnotherPerson(CardError):
    """The two-person rule."""

    def __str__(self) -> str:
        return _("You made or asked for this batch yourself. Above the set limit another person has to do this.")


class AlreadyThere(CardError):
    """The catalogue holds such an entry already; the message says which."""


class NothingToHandOut(CardError):
    def __str__(self) -> str:
        return _("There is no unused card in this range whose code could be handed out.")


class TooManyToPrint(CardError):
    """`most` is how many cards are printed at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(most)

    def __str__(self) -> str:
        return _(
            "At most %(most)s cards can be made ready for print at a time. Choose a smaller range of serials, such as "
            "1-%(range)s, or give the printer a CSV file."
        ) % {"most": f"{self.most:,}", "range": self.most}


class NoPrintFont(CardError):
    def __str__(self) -> str:
        return _(
            "This machine has no font for the characters on these cards. Please tell whoever runs the portal "
            "(setting PRINT_FONT)."
        )


class CodeGone(CardError):
    def __str__(self) -> str:
        return _("The portal no longer keeps this card's code: it went when the card was used.")
