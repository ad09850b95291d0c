"""Codes that staff look up, one or a list: a code that could be guessed is counted for them as for members.

An imported code may be short, and a page that tells which of ten thousand texts are codes would find one. So a list is
noted in the audit trail, in numbers; what looks like an imported code and is none goes to the person's own gate
(`accounts.throttle`) and into the report of refused codes. One list, however long, closes the gate for one round at
most: who pasted the wrong column waits a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from accounts import throttle
from accounts.models import User

from . import attempts, audit, finding, lists
from .choices import AuditAction, ListOutcome
from .finding import Found
from .imported import imported_form, lines_of_imported_form
from .lists import Listed


@sensitive_variables("texts")
def look_up_list(texts: Sequence[str], *, actor: User, address: str | None) -> list[Listed]:
    """`lists.cards_of_lines` for a person. Raises TooManyAttempts, before anything was looked up."""
    guessable = lines_of_imported_form(texts)
    with transaction.atomic():
        if guessable:
            throttle.count_attempt(actor)
        lines = lists.cards_of_lines(texts)
        unknown = [line.number for line in lines if line.problem == ListOutcome.UNKNOWN]
        wrong = len(guessable.intersection(unknown))
        if wrong:
            throttle.count_wrong(actor, address, codes=wrong)
        elif guessable:
            throttle.forget_attempt(actor)
        audit.record(
            AuditAction.LOOK_UP_LIST,
            actor=actor,
            address=address,
            lines=len(lines),
            found=sum(line.card_id is not None for line in lines),
            unknown=len(unknown),
        )
    if wrong:
        attempts.note_refusal(member=actor, address=address, card=None, tries=wrong)
    return lines


@sensitive_variables("text")
def find(text: str, *, actor: User, address: str | None, by_last4: bool) -> Found:
    """`finding.find_cards` for a person. Raises TooManyAttempts for what looks like an imported code."""
    if not imported_form(text):
        return finding.find_cards(text, by_last4=by_last4)
    with transaction.atomic():
        throttle.count_attempt(actor)
        found = finding.find_cards(text, by_last4=by_last4)
        if found.cards:
            throttle.forget_attempt(actor)
        else:
            throttle.count_wrong(actor, address)
    if not found.cards:
        attempts.note_refusal(member=actor, address=address, card=None)
    return found
