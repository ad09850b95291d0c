"""The one place where a card becomes an order.

1. Normalise what was typed; a typing mistake is said at once.
2. One transaction without network begins: count the attempt before looking anything up (accounts.throttle).
3. Lock the card by its look-up value, its batch for sharing; check; move the card from UNUSED to USED by a conditional
   update whose row count says who won; insert the order (its one-to-one with the card is the second guard), the
   surcharge's ledger entry, the timeline's first event and the audit row; take the count back.
4. After the commit, wake a worker. If nobody hears it, the sweep does.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from accounts import throttle
from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.exceptions import BalanceTooLow, TooManyAttempts
from accounts.models import User
from accounts.wakeup import call_after_commit
from cards import actions as card_actions
from cards import attempts, audit, catalog, codes, vault
from cards.choices import AuditAction, CardStatus, OSFamily, WindowsPolicy
from cards.models import Batch, Card, CodeForm, Image, OperatingSystem

from .choices import OrderEventKind
from .exceptions import (
    AlreadyYours,
    CardAlreadyUsed,
    CardDisabled,
    CardExpired,
    ChargeNotConfirmed,
    DomainTaken,
    ImageNotOffered,
    MistypedCode,
    NoOwnLogin,
    RedemptionRefused,
    SoldOut,
    UnknownCode,
)
from .models import Order
from .tasks import provision
from .wishes import NO_WISHES, Wishes, checked

REFUSALS = (RedemptionRefused, TooManyAttempts, BalanceTooLow)


@dataclass(frozen=True)
class OSChoice:
    image_id: int
    label: str
    family: str
    surcharge: Decimal  # in the batch's currency, for the whole term


@dataclass(frozen=True)
class Preview:
    """What a card is good for; nothing is spent by looking."""

    last4: str
    product_type: str
    name: str
    line: str
    spec: list[tuple[str, str]]
    term_months: int
    last_day: datetime
    needs_os: bool
    choices: list[OSChoice]
    currency: str
    windows_note: str


@sensitive_variables("code")
def preview(*, code: str, member: User, address: str | None = None, actor: User | None = None) -> Preview:
    """What the card of that code opens for this member; `actor` is the staff who asks. Raises one of REFUSALS."""
    typed, who = _read(code), actor or member
    with _noting(who, address) as seen:
        with transaction.atomic():
            throttle.count_attempt(who)
            card = seen.card = Card.objects.select_related("batch__line").filter(lookup=typed.lookup).first()
            known = card is not None and _proves(card, member, timezone.now())
            if known:
                transaction.set_rollback(True)  # nobody's guess, and nothing else was written
            else:
                throttle.count_wrong(who, address)
        if card is None or not known:
            seen.plain = bool(_imported_form(code))
            raise typed.refusal
        batch = card.batch
        _require_usable(card, member, timezone.now())
    product = catalog.product_of(batch.product_type)
    return Preview(
        last4=card.last4,
        product_type=batch.product_type,
        name=batch.name,
        line=str(batch.line),
        spec=catalog.describe(batch.product_type, batch.spec),
        term_months=batch.term_months,
        last_day=batch.last_day,
        needs_os=product.needs_os,
        choices=[_choice(image, batch) for image in _offered(batch)] if product.needs_os else [],
        currency=batch.currency,
        windows_note=_windows_note(batch) if product.needs_os else "",
    )


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
    typed, who = _read(code), actor or member
    with _noting(who, address) as seen:
        with transaction.atomic():
            throttle.count_attempt(who)
            card, at = card_actions.lock_card(typed.lookup), timezone.now()
            seen.card = card
            if card is not None and _proves(card, member, at):
                order = _use(card, member, at, who, address, image_id, wishes, agreed, note)
                throttle.forget_attempt(who)
                return order
            throttle.count_wrong(who, address)
        seen.plain = bool(_imported_form(code))
        raise typed.refusal


@dataclass
class _Seen:
    """The card that the code named, if any, and whether the refusal must tell nothing about it: the code is of a form
    that could be guessed."""

    card: Card | None = None
    plain: bool = False


@contextmanager
def _noting(who: User, address: str | None) -> Iterator[_Seen]:
    """A refused code is counted for the leak report, once whatever was written inside has been rolled back.

    The plain refusal of a code that could be guessed comes a fixed time after the attempt began, for a card that was
    used takes more statements to find than a code that nobody has.
    """
    seen, start = _Seen(), time.monotonic()
    try:
        yield seen
    except RedemptionRefused:
        attempts.note_refusal(member=who, address=address, card=seen.card)
        if seen.plain:
            _wait_until(start + settings.PLAIN_REFUSAL.total_seconds())
        raise


_waits = threading.BoundedSemaphore(settings.PLAIN_REFUSALS_AT_ONCE)


def _wait_until(end: float) -> None:
    """Wait for that moment of the monotonic clock, but never with all threads of a web process: whoever comes while
    half of them wait is answered at once. That takes a flood, in whose noise a millisecond cannot be told."""
    if _waits.acquire(blocking=False):
        try:
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            _waits.release()


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
    _require_usable(card, member, at)
    wanted = checked(wishes, card.batch.product_type)
    image = _chosen_image(card.batch, image_id)
    wanted.suit(image.operating_system.family if image else "")
    charge = _surcharge(image, card.batch) if image else Decimal(0)
    if agreed is not None and charge != agreed:
        raise ChargeNotConfirmed(charge)
    number = new_number()
    if not card_actions.use_card(card=card, member=member, order_number=number, at=at):
        raise UnknownCode  # the lock makes this impossible; the row count has the last word all the same
    order = _place_order(card, member, number, image, wanted, at, who, note)
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


def new_number() -> str:
    """An order number: ten symbols of the code alphabet (50 bits), such as 7K3M9-QPX2T."""
    text = "".join(secrets.choice(codes.ALPHABET) for _symbol in range(10))
    return f"{text[:5]}-{text[5:]}"


@dataclass(frozen=True)
class _Typed:
    """Where the code would stand, and what to say when it does not."""

    lookup: bytes
    refusal: RedemptionRefused


@sensitive_variables("code", "canonical")
def _read(code: str) -> _Typed:
    """What was typed, before any look-up. A typing mistake is said at once, from the text alone, unless imported codes
    look like that. Raises MistypedCode."""
    try:
        return _Typed(vault.lookup(codes.normalise(code)), UnknownCode())
    except codes.BadCode as error:
        mistake = MistypedCode(error.kind, error.group)
    canonical = _imported_form(code)
    if not canonical:
        raise mistake
    return _Typed(vault.lookup(canonical), mistake if len(canonical) == codes.LENGTH else UnknownCode())


def _proves(card: Card, member: User, now: datetime) -> bool:
    """Whether having this card's code proves anything, so that its holder is told the truth.

    A code that can be guessed does so while the card can be used, and to the member who used it; otherwise it is
    answered, and counted, as an unknown one.
    """
    batch = card.batch
    if card.serial > batch.issued:
        return False
    if not batch.guessable or (card.status == CardStatus.USED and card.used_by_id == member.pk):
        return True
    return card.status == CardStatus.UNUSED and not batch.disabled_at and batch.expires_at > now


@sensitive_variables("code", "canonical")
def _imported_form(code: str) -> str:
    """The normal form of a text that looks as imported codes do, "" for any other: a matter of the text alone."""
    try:
        canonical = codes.canonical(code)
    except codes.BadCode:
        return ""
    forms = CodeForm.objects.filter(length=len(canonical)).values_list("symbols", flat=True)
    return canonical if any(set(canonical) <= set(symbols) for symbols in forms) else ""


def _require_usable(card: Card, member: User, now: datetime) -> None:
    """Tell whoever holds the whole code the truth about the card, never by whom."""
    batch = card.batch
    if card.status == CardStatus.USED:
        if card.used_by_id == member.pk:
            raise AlreadyYours(_order_of(card, member))
        assert card.used_at is not None  # noqa: S101 (the check constraint card_used_ties says so)
        raise CardAlreadyUsed(card.used_at)
    if card.status == CardStatus.DISABLED or batch.disabled_at:
        raise CardDisabled
    if batch.expires_at <= now:
        raise CardExpired(batch.last_day)
    if not batch.line.active:
        raise SoldOut(batch.line.name)


def _order_of(card: Card, member: User) -> Order:
    """His newest order of that card, even if it was cancelled since the card was read without a lock."""
    return Order.objects.filter(Q(card=card) | Q(returned_card=card), member=member).latest("pk")


def _offered(batch: Batch) -> QuerySet[Image]:
    images = Image.objects.filter(line_id=batch.line_id, active=True).select_related("operating_system")
    if batch.windows_policy == WindowsPolicy.NOT_OFFERED:
        images = images.exclude(operating_system__family=OSFamily.WINDOWS)
    return images


def _choice(image: Image, batch: Batch) -> OSChoice:
    system = image.operating_system
    return OSChoice(image.pk, str(system), system.family, _surcharge(image, batch))


def _surcharge(image: Image, batch: Batch) -> Decimal:
    windows = image.operating_system.family == OSFamily.WINDOWS
    pays = batch.windows_policy == WindowsPolicy.MEMBER_PAYS
    return batch.windows_surcharge if windows and pays else Decimal(0)


def _windows_note(batch: Batch) -> str:
    if batch.windows_policy == WindowsPolicy.NOT_OFFERED:
        return _("This card opens Linux systems only.")
    if batch.windows_policy == WindowsPolicy.MEMBER_PAYS and batch.windows_surcharge:
        return _("Windows costs extra on this line; the difference is paid from your balance.")
    return ""


_CHOSEN = """
SELECT image.id, image.reference, system.name, system.version, system.family
FROM cards_image image JOIN cards_operatingsystem system ON system.id = image.operating_system_id
WHERE image.id = %s AND image.line_id = %s AND image.active
"""


def _chosen_image(batch: Batch, image_id: int | None) -> Image | None:
    """The image, still offered at this moment; a plain statement, as in `cards.actions.use_card`."""
    if not catalog.product_of(batch.product_type).needs_os:
        return None
    row = None
    if image_id is not None and 0 < image_id < 2**63:
        with connection.cursor() as cursor:
            cursor.execute(_CHOSEN, [image_id, batch.line_id])
            row = cursor.fetchone()
    if row is None or (row[4] == OSFamily.WINDOWS and batch.windows_policy == WindowsPolicy.NOT_OFFERED):
        raise ImageNotOffered
    system = OperatingSystem(name=row[2], version=row[3], family=row[4])
    return Image(pk=row[0], line_id=batch.line_id, reference=row[1], operating_system=system)


_FIRST_EVENT = "INSERT INTO orders_orderevent (order_id, kind, actor_id, note, at) VALUES (%s, %s, %s, %s, %s)"


@sensitive_variables("login")
def _sealed_login(login: dict[str, str], key: UUID) -> bytes | None:
    """None when he wished for none. Raises NoOwnLogin where this process has no key to keep it under."""
    try:
        return vault.seal_access(login, order_key=key) if login else None
    except vault.KeyUnavailable:
        raise NoOwnLogin from None


@sensitive_variables("wanted", "login")
def _place_order(
    card: Card, member: User, number: str, image: Image | None, wanted: Wishes, at: datetime, who: User, note: str
) -> Order:
    batch = card.batch
    surcharge = _surcharge(image, batch) if image else Decimal(0)
    site = f"{number.lower()}.{settings.HOSTING_DOMAIN}" if catalog.product_of(batch.product_type).is_site else ""
    key = uuid4()
    login = _sealed_login(wanted.login(), key)
    order = Order(
        key=key,
        number=number,
        member=member,
        card=card,
        batch=batch,
        product_type=batch.product_type,
        product_name=batch.name,
        line_id=batch.line_id,
        provider=batch.line.provider,
        spec=batch.spec,
        term_months=batch.term_months,
        os_name=str(image.operating_system) if image else "",
        os_family=image.operating_system.family if image else "",
        image_reference=image.reference if image else "",
        hostname=site or wanted.hostname or f"srv-{number.lower()}",
        domain=wanted.domain or site,
        login=login,
        surcharge=surcharge,
        currency=batch.currency,
        next_attempt_at=at + settings.WAKE_GRACE,
        deadline=at + settings.ORDER_DEADLINE[batch.product_type],
        created_at=at,
        language=member.language or ((get_language() or "") if who == member else ""),
    )
    _insert(order)
    with connection.cursor() as cursor:
        moment = connection.ops.adapt_datetimefield_value(at)
        cursor.execute(_FIRST_EVENT, [order.pk, OrderEventKind.CREATED, who.pk, note, moment])
    if surcharge:
        record_entry(member=member, kind=LedgerKind.SURCHARGE, amount=-surcharge, reference=number, created_by=who)
    return order


def _insert(order: Order) -> None:
    """Two sites cannot answer under one domain; the constraint decides, in a savepoint so that its word can be told."""
    if not order.domain:
        order.save(force_insert=True)
        return
    try:
        with transaction.atomic():
            order.save(force_insert=True)
    except IntegrityError:
        if Order.objects.filter(domain=order.domain).exists():
            raise DomainTaken from None
        raise
