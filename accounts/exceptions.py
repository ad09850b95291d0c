"""Errors of accounts, each with a message fit for the person who sees it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .money import shown


class AccountError(Exception):
    """Base of what accounts refuses."""


class BalanceTooLow(AccountError):
    """`missing` is the amount, in the portal's currency, that the balance lacks."""

    def __init__(self, missing: Decimal) -> None:
        self.missing = missing
        super().__init__(missing)

    def __str__(self) -> str:
        return _(
            "Your balance is %(missing)s short. Ask our staff to top it up, or choose a system without surcharge; "
            "your card has not been used."
        ) % {"missing": shown(self.missing)}


class InvitationNotValid(AccountError):
    def __str__(self) -> str:
        return _("This invitation has been used or has expired. Please ask for a new one.")


class MemberIdUnfit(AccountError):
    """The ID by which the company's sign-in names a person cannot be kept whole."""

    def __str__(self) -> str:
        return _(
            "The company's sign-in names you by an ID that this portal cannot keep: it is too long, or not a text or a "
            "number. Please tell the company's support."
        )


class NoSuchUser(AccountError):
    """`text` is what was typed; a person who is shut out counts as none where something is to be done for him."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return _("Nobody has “%(text)s” as user name, e-mail address or member ID.") % {"text": self.text}


class AddressUnconfirmed(AccountError):
    """`text` is an e-mail address that a person named as his and never confirmed."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return _(
            "Whoever signed up with “%(text)s” has not confirmed that the address is his. "
            "Type his user name or member ID."
        ) % {"text": self.text}


class SeveralUsers(AccountError):
    """`text` fits the people with these `usernames`."""

    def __init__(self, text: str, usernames: list[str]) -> None:
        self.text, self.usernames = text, usernames
        super().__init__(text, usernames)

    def __str__(self) -> str:
        return _(
            "“%(text)s” is one person's name and another's member ID (%(names)s). Type the user name or the e-mail "
            "address that only the one you mean has."
        ) % {"text": self.text, "names": ", ".join(self.usernames)}


class TooManyAttempts(AccountError):
    """`wait` is how long until the next attempt is heard."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait
        super().__init__(wait)

    def __str__(self) -> str:
        minutes = max(1, -(-int(self.wait.total_seconds()) // 60))
        if minutes > 120:
            return _("Too many attempts. Please wait %(hours)d hours and try again.") % {"hours": -(-minutes // 60)}
        return ngettext(
            "Too many attempts. Please wait %(minutes)d minute and try again.",
            "Too many attempts. Please wait %(minutes)d minutes and try again.",
            minutes,
        ) % {"minutes": minutes}
