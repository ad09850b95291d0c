"""Every write to batches and cards that staff ask for, and the two that redemption asks for (use, return)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.wakeup import call_after_commit

from . import approval, audit, pricing, vault
from .catalog import lines_offering, product_of
from .choices import AuditAction, BatchStatus, CardStatus, ValidityKind, WindowsPolicy
from .days import start_of, today
from .exceptions import AlreadyReplaced, BadBatch, NothingToChange, NotWhole, UsedCardStays, WasCancelled
from .models import USE_COUNT_SLOTS, Batch, Card, CardUse, Line, Replacement, UseCount
from .tasks import generate_batch

LONGEST_YEARS = 20  # from today, of a card's validity and of a service


@dataclass(frozen=True)
class Validity:
    """Until a fixed last day, or a period in months from creation."""

    kind: ValidityKind
    last_day: date | None = None
    period_months: int | None = None

    @classmethod
    def until(cls, last_day: date) -> Validity:
        return cls(ValidityKind.DATE, last_day=last_day)

    @classmethod
    def months(cls, count: int) -> Validity:
        return cls(ValidityKind.PERIOD, period_months=count)

    def expires_at(self, today: date) -> datetime:
        """Start of the day after the last valid day, in the portal's time zone."""
        last = self.last_day or add_months(today, self.period_months or 0)
        return start_of(last + timedelta(days=1))


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or that month's last day when it is shorter."""
    year, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + year, month + 1
    for candidate in (day.day, 30, 29, 28):
        try:
            return date(year, month, min(candidate, day.day))
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


LONGEST_NAME = 100


def is_too_late(last_day: date) -> bool:
    """Whether a card or a service must not last until that day. Asked first: the calendar ends with the year 9999."""
    return last_day > add_months(today(), 12 * LONGEST_YEARS)


def says_too_late() -> str:
    return _("Choose a day from today to %(years)d years from now.") % {"years": LONGEST_YEARS}


def create_batch(
    *,
    product_type: str,
    name: str,
    line: Line,
    spec: dict[str, Any],
    term_months: int,
    quantity: int,
    validity: Validity,
    windows_policy: str = WindowsPolicy.NOT_OFFERED,
    reference_price: Decimal | None = None,
    created_by: User | None = None,
    request_token: uuid.UUID | None = None,
    note: str = "",
    address: str | None = None,
) -> Batch:
    """Freeze a configuration into a batch and have its cards generated after the commit, or after its approval when
    it is above the limits of the two-person rule.

    The same `request_token` returns the batch it made before. Raises BadBatch with messages by field.
    """
    token = request_token or uuid.uuid4()
    if made := Batch.objects.filter(request_token=token).first():
        return made
    row = checked_row(
        product_type=product_type,
        name=name,
        line=line,
        spec=spec,
        term_months=term_months,
        quantity=quantity,
        validity=validity,
        windows_policy=windows_policy,
        reference_price=reference_price,
    )
    if row["needs_approval"]:
        row |= {"status": BatchStatus.WAITING, "asked_by": created_by}
    with transaction.atomic():
        batch, created = insert_batch(token, row | {"created_by": created_by, "note": note})
        if created:
            audit.record(
                AuditAction.CREATE_BATCH,
                actor=created_by,
                batch=batch,
                address=address,
                quantity=quantity,
                reference_price=str(batch.reference_price),
                needs_approval=batch.needs_approval,
            )
            if not batch.needs_approval:
                call_after_commit(generate_batch, batch.pk)
    return batch


def checked_row(
    *,
    product_type: str,
    name: str,
    line: Line,
    spec: dict[str, Any],
    term_months: int,
    quantity: int,
    validity: Validity,
    windows_policy: str,
    reference_price: Decimal | None,
) -> dict[str, Any]:
    """What the row of such a batch says, checked, at today's prices. Raises BadBatch with messages by field."""
    clean = _checked_spec(product_type, line, spec)
    expires_at = _checked_terms(name, term_months, quantity, validity, reference_price)
    price = pricing.quote(line, product_type, clean, term_months).total if reference_price is None else reference_price
    return {
        "product_type": product_type,
        "name": name.strip(),
        "line": line,
        "spec": clean,
        "term_months": term_months,
        "reference_price": price,
        "currency": settings.CURRENCY,
        "quantity": quantity,
        "validity_kind": validity.kind,
        "validity_months": validity.period_months,
        "expires_at": expires_at,
        "windows_policy": windows_policy,
        "windows_surcharge": _frozen_surcharge(line, windows_policy, term_months),
        "needs_approval": approval.is_above_limit(
            line=line,
            product_type=product_type,
            spec=clean,
            term_months=term_months,
            windows_policy=windows_policy,
            price=price,
            quantity=quantity,
        ),
    }


def insert_batch(token: uuid.UUID, row: dict[str, Any]) -> tuple[Batch, bool]:
    """(the batch of that token, whether it is new), with a data key and its counters. Needs an open transaction."""
    key_id, wrapped = vault.new_data_key(token)
    batch, created = Batch.objects.get_or_create(
        request_token=token, defaults=row | {"wrapped_key": wrapped, "key_id": key_id}
    )
    if created:
        UseCount.objects.bulk_create(UseCount(batch=batch, slot=slot) for slot in range(USE_COUNT_SLOTS))
    return batch, created


def _frozen_surcharge(line: Line, windows_policy: str, term_months: int) -> Decimal:
    if windows_policy != WindowsPolicy.MEMBER_PAYS:
        return Decimal(0)
    return pricing.windows_surcharge(line, term_months)


def _checked_spec(product_type: str, line: Line, spec: dict[str, Any]) -> dict[str, Any]:
    product = product_of(product_type)
    form = product.spec_form(spec, line=line)
    if not form.is_valid():
        raise BadBatch({field: [str(text) for text in texts] for field, texts in form.errors.items()})
    if not lines_offering(product_type).filter(pk=line.pk).exists():
        raise BadBatch({"line": [_("This line does not offer that product.")]})
    return form.spec()


def _is_price(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount < 10**9 and amount == round(amount, 2)


def _checked_terms(
    name: str, term_months: int, quantity: int, validity: Validity, reference_price: Decimal | None
) -> datetime:
    errors: dict[str, list[str]] = {}
    if not name.strip():
        errors["name"] = [_("Please give the cards a name.")]
    elif len(name.strip()) > LONGEST_NAME or len(name.strip().splitlines()) > 1:
        errors["name"] = [_("A card name is one line of at most %(most)d characters.") % {"most": LONGEST_NAME}]
    if not 1 <= term_months <= 120:
        errors["term_months"] = [_("The term is between 1 and 120 months.")]
    if not 1 <= quantity <= settings.BATCH_MAX_QUANTITY:
        errors["quantity"] = [
            _("Between 1 and %(limit)s cards can be made at a time.") % {"limit": f"{settings.BATCH_MAX_QUANTITY:,}"}
        ]
    if reference_price is not None and not _is_price(reference_price):
        errors["reference_price"] = [_("A price is at least 0 and below 1,000,000,000, with two decimals at most.")]
    if validity.kind == ValidityKind.PERIOD and not 1 <= (validity.period_months or 0) <= 12 * LONGEST_YEARS:
        errors["validity"] = [_("The period is between 1 and 240 months.")]
        raise BadBatch(errors)
    if validity.last_day and is_too_late(validity.last_day):
        raise BadBatch(errors | {"validity": [says_too_late()]})
    expires_at = validity.expires_at(today())
    if expires_at <= timezone.now():
        errors["validity"] = [_("The last valid day must not lie in the past.")]
    if errors:
        raise BadBatch(errors)
    return expires_at


def disable_batch(*, batch: Batch, actor: User | None, reason: str = "", address: str | None = None) -> None:
    """No card of the batch can be picked up any more. Writes the batch row only; redemption holds that row shared,
    so that when this has committed no redemption can still succeed."""
    _switch_batch(batch, AuditAction.DISABLE_BATCH, actor, reason, address, disabled_at=timezone.now())


def enable_batch(*, batch: Batch, actor: User | None, reason: str = "", address: str | None = None) -> None:
    """Undo `disable_batch`; cards disabled one by one stay disabled."""
    _switch_batch(batch, AuditAction.ENABLE_BATCH, actor, reason, address, disabled_at=None)


@transaction.atomic
def _switch_batch(
    batch: Batch,
    action: AuditAction,
    actor: User | None,
    reason: str,
    address: str | None,
    disabled_at: datetime | None,
) -> None:
    if not Batch.objects.filter(pk=batch.pk, disabled_at__isnull=disabled_at is not None).update(
        disabled_at=disabled_at
    ):
        raise NothingToChange
    batch.disabled_at = disabled_at
    audit.record(action, actor=actor, batch=batch, address=address, reason=reason)


def disable_card(*, card: Card, actor: User | None, reason: str = "", address: str | None = None) -> None:
    """This card cannot be picked up any more. Raises UsedCardStays for a used one."""
    _switch_card(card, CardStatus.UNUSED, CardStatus.DISABLED, AuditAction.DISABLE_CARD, actor, reason, address)


def enable_card(*, card: Card, actor: User | None, reason: str = "", address: str | None = None) -> None:
    _switch_card(card, CardStatus.DISABLED, CardStatus.UNUSED, AuditAction.ENABLE_CARD, actor, reason, address)


@transaction.atomic
def _switch_card(
    card: Card,
    before: CardStatus,
    after: CardStatus,
    action: AuditAction,
    actor: User | None,
    reason: str,
    address: str | None,
) -> None:
    replaced = Exists(Replacement.objects.filter(old=OuterRef("pk")))
    rows = Card.objects.filter(~replaced, pk=card.pk, status=before)
    try:
        with transaction.atomic():
            won = rows.update(status=after)
    except IntegrityError:  # it waited for the replacement of this card, which its snapshot does not see
        raise AlreadyReplaced from None
    if not won:
        card.refresh_from_db()
        if card.status == CardStatus.USED:
            raise UsedCardStays(enable=after == CardStatus.UNUSED)
        raise AlreadyReplaced if Replacement.objects.filter(old=card).exists() else NothingToChange
    card.status = after
    audit.record(action, actor=actor, batch=card.batch, card=card, address=address, reason=reason, serial=card.serial)


def rewrap_batch(*, batch: Batch) -> bool:
    """Put the batch's data key under the newest master key; no card is touched. False if another process was first.

    Raises vault.KeyUnavailable when the key that wraps it now is not configured.
    """
    data_key = vault.unwrap(batch.key_id, bytes(batch.wrapped_key), batch.request_token)
    key_id, wrapped = vault.wrap(data_key, batch.request_token)
    return bool(Batch.objects.filter(pk=batch.pk, key_id=batch.key_id).update(key_id=key_id, wrapped_key=wrapped))


_LOCK_CARD = "SELECT * FROM cards_card WHERE lookup = %s"
_LOCK_BATCH = "SELECT * FROM cards_batch WHERE id = %s"
_USE_CARD = """
UPDATE cards_card SET status = 'used', used_at = %(at)s, used_by_id = %(member)s, sealed = NULL
WHERE id = %(card)s AND status = 'unused' AND EXISTS (
  SELECT 1 FROM cards_batch
  WHERE id = cards_card.batch_id AND issued >= cards_card.serial AND disabled_at IS NULL AND expires_at > %(at)s)
"""
_LOG_USE = """
INSERT INTO cards_carduse (card_id, batch_id, member_id, order_number, used_at)
SELECT %(card)s, %(batch)s, %(member)s, %(order)s, %(at)s
"""
_COUNT_USE = "UPDATE cards_usecount SET used = used + 1 WHERE batch_id = %(batch)s AND slot = %(slot)s"
# The three in one: still a statement of its own after the two that lock, so it sees card and batch as they are then.
_USE_AND_NOTE = f"""
WITH used AS ({_USE_CARD} RETURNING id),
logged AS ({_LOG_USE} FROM used),
counted AS ({_COUNT_USE} AND EXISTS (SELECT 1 FROM used))
SELECT id FROM used
"""  # noqa: S608 (made of the constants above)


def lock_card(lookup: bytes) -> Card | None:
    """The card of that look-up value, its row locked, then its batch's row locked for sharing.

    Two statements on purpose: a redemption that waited for the card sees the batch as it is after the wait, and
    whoever disables the batch waits for the redemptions under way. Needs an open transaction.
    """
    locks = connection.vendor == "postgresql"  # on SQLite BEGIN IMMEDIATE holds the one lock there is
    for card in Card.objects.raw(f"{_LOCK_CARD} FOR NO KEY UPDATE" if locks else _LOCK_CARD, [lookup]):
        (card.batch,) = Batch.objects.raw(f"{_LOCK_BATCH} FOR SHARE" if locks else _LOCK_BATCH, [card.batch_id])
        (card.batch.line,) = Line.objects.raw("SELECT * FROM cards_line WHERE id = %s", [card.batch.line_id])
        return card
    return None


def use_card(*, card: Card, member: User, order_number: str, at: datetime) -> bool:
    """UNUSED -> USED if card and batch still allow it at `at`; True for the one caller who won.

    The ciphertext goes with the same statement, the usage log and the batch's count with the same transaction. Plain
    statements: every redemption waits for them, and composing them anew costs more than running them.
    """
    facts: dict[str, Any] = {
        "card": card.pk,
        "batch": card.batch_id,
        "member": member.pk,
        "order": order_number,
        "at": connection.ops.adapt_datetimefield_value(at),
        "slot": card.serial % USE_COUNT_SLOTS,
    }
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_USE_AND_NOTE, facts)
            return bool(cursor.rowcount == 1)
        cursor.execute(_USE_CARD, facts)
        if cursor.rowcount != 1:
            return False
        cursor.execute(_LOG_USE, facts)
        cursor.execute(_COUNT_USE, facts)
    return True


def return_card(
    *, card: Card, order_number: str, actor: User | None, reason: str = "", address: str | None = None
) -> bool:
    """USED -> UNUSED after the order was cancelled; True once per use. The code works again; it cannot be downloaded
    any more, since its ciphertext went when it was used."""
    closed = CardUse.objects.filter(card=card, order_number=order_number, returned_at__isnull=True).update(
        returned_at=timezone.now()
    )
    if not closed:
        return False
    returned = Card.objects.filter(pk=card.pk, status=CardStatus.USED).update(
        status=CardStatus.UNUSED, used_at=None, used_by=None
    )
    if not returned:
        return False
    UseCount.objects.filter(batch_id=card.batch_id, slot=card.serial % USE_COUNT_SLOTS).update(used=F("used") - 1)
    why = {"reason": reason} if reason else {}
    audit.record(
        AuditAction.RETURN_CARD, actor=actor, batch=card.batch, card=card, address=address, order=order_number, **why
    )
    return True


def require_whole(batch: Batch) -> None:
    """Raises NotWhole until the batch was whole once, WasCancelled if it never will be. Cards added since are handed
    out when they are whole."""
    if batch.status == BatchStatus.CANCELLED:
        raise WasCancelled
    if not batch.issued:
        raise NotWhole
