"""The one place where a card becomes an order.

1. Normalise what was typed; a typing mistake is said at once.
2. One transaction without network begins: count the attempt before looking anything up (accounts.throttle).
3. Lock the card by its look-up value, its batch for sharing; check; move the card from UNUSED to USED by a conditional
   update whose row count says who won; insert the order (its one-to-one with the card is the second guard), the
   surcharge's ledger entry, the timeline's first event and the audit row; take the count back.
4. After the commit, wake a worker. If nobody hears it, the sweep does.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts import throttle
from accounts.exceptions import BalanceTooLow, TooManyAttempts
from accounts.models import User
from accounts.wakeup import call_after_commit
from cards import actions as card_actions
from cards import audit
from cards.choices import AuditAction
from cards.imported import imported_form
from cards.models import Batch, Card, Image

from .exceptions import ChargeNotConfirmed, RedemptionRefused, Together, UnknownCode
from .models import Order
from .offer import OSChoice, Preview, chosen_image, preview_of, surcharge_of
from .placing import new_number, place_order
from .proof import noting, proves, read, require_usable
from .tasks import provision
from .wishes import NO_WISHES, Wishes, checked

__all__ = ["REFUSALS", "OSChoice", "Order", "Preview", "preview", "redeem"]

REFUSALS = (RedemptionRefused, TooManyAttempts, BalanceTooLow)


@sensitive_variables("code")
def preview(*, code: str, member: User, address: str | None = None, actor: User | None = None) -> Preview:
    """What the card of that code opens for this member; `actor` is the staff who asks. Raises one of REFUSALS."""
    typed, who = read(code), actor or member
    with noting(who, address) as seen:
        with transaction.atomic():
            throttle.count_attempt(who)
            card = seen.card = Card.objects.select_related("batch__line").filter(lookup=typed.lookup).first()
            known = card is not None and proves(card, member, timezone.now())
            if known:
                transaction.set_rollback(True)  # nobody's guess, and nothing else was written
            else:
                throttle.count_wrong(who, address)
        if card is None or not known:
            seen.plain = bool(imported_form(code))
            raise typed.refusal
        require_usable(card, member, timezone.now())
    return preview_of(card)


@sensitive_variables("code", "wishes", "wanted")
def redeem(
    *,
    code: str,
    member: User,
    image_id: int | None = None,
    wishes: Wishes = NO_WISHES,
    agreed: Decimal | None = None,
    address: str | None = None,
    actor: User | None = None,
    note: str = "",
) -> Order:
    """Use the card of that code for `member` and place its order; `actor` is the staff acting on his behalf,
    `note` why.

    `agreed` is the surcharge that the member was shown, None where nobody was shown anything.
    Raises one of REFUSALS, in which case nothing was written.
    """
    typed, who = read(code), actor or member
    with noting(who, address) as seen:
        with transaction.atomic():
            throttle.count_attempt(who)
            card, at = card_actions.lock_card(typed.lookup), timezone.now()
            seen.card = card
            if card is not None and proves(card, member, at):
                order = _use(card, member, at, who, address, image_id, wishes, agreed, note)
                throttle.forget_attempt(who)
                return order
            throttle.count_wrong(who, address)
        seen.plain = bool(imported_form(code))
        raise typed.refusal


@sensitive_variables("wishes", "wanted")
def _use(
    card: Card,
    member: User,
    at: datetime,
    who: User,
    address: str | None,
    image_id: int | None,
    wishes: Wishes,
    agreed: Decimal | None,
    note: str,
) -> Order:
    """The locked card becomes an order, or one of REFUSALS rolls all of it back."""
    require_usable(card, member, at)
    image, wanted = _chosen(card.batch, image_id, wishes)
    charge = surcharge_of(image, card.batch) if image else Decimal(0)
    if agreed is not None and charge != agreed:
        raise ChargeNotConfirmed(charge)
    number = new_number()
    if not card_actions.use_card(card=card, member=member, order_number=number, at=at):
        raise UnknownCode  # the lock makes this impossible; the row count has the last word all the same
    order = place_order(card, member, number, image, wanted, at, who, note)
    why = {"note": note} if note else {}
    audit.record(
        AuditAction.REDEEM,
        actor=who,
        batch=card.batch,
        card=card,
        address=address,
        order=number,
        member=member.pk,
        **why,
    )
    call_after_commit(provision, order.pk, lane=order.provider)
    return order


@sensitive_variables("wishes", "wanted")
def _chosen(batch: Batch, image_id: int | None, wishes: Wishes) -> tuple[Image | None, Wishes]:
    """The system and the wishes, each as checked at this moment; all that is wrong with them is said at once."""
    together, image, wanted = Together(), None, NO_WISHES
    with together:
        image = chosen_image(batch, image_id)
    with together:
        wanted = checked(wishes, batch.product_type, image.operating_system.family if image else "")
    together.refuse()
    return image, wanted
