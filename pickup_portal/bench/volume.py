"""A portal after years of use, for a scratch database that holds the demo: batches, cards, members, orders, and all
that stands beside them, such that `check_invariants` finds nothing wrong.

Of N cards: N/100 batches over three years, N/50 members of whom a few use very many cards, a fifth of the cards used
(so N/5 orders with their events, attempts and services), N/20 refused tries, N audit events. The same every time.
Codes are random bytes nobody can type; the demo's own batches hold real ones.
"""

from __future__ import annotations

import hashlib
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from cards import audit, chain, statistics, vault
from cards.choices import (
    AuditAction,
    BatchStatus,
    CardStatus,
    OSFamily,
    ProductType,
    TryOutcome,
    ValidityKind,
    WindowsPolicy,
)
from cards.models import USE_COUNT_SLOTS, AuditEvent, Batch, Card, CardUse, DisabledCount, Line, RefusedTry, UseCount
from orders.choices import IN_FLIGHT, AttemptOutcome, OrderEventKind, OrderState, SeenState, ServiceState
from orders.models import Order, OrderEvent, ProvisioningAttempt, Service
from pickup_portal import demo

from .bulk import load, next_key

CARDS_A_BATCH, CARDS_A_MEMBER = 100, 50
YEARS = timedelta(days=3 * 365)
SIZES = (10, 20, 50, 50, 100, 100, 100, 200, 260)
NAMES = (
    "云服务器-香港",
    "香港 CN2 2核4G",
    "活动赠送 云主机",
    "虚拟主机 10G",
    "裸金属 E5",
    "代理商专用",
    "Cloud server S",
)
SURCHARGE = Decimal("30.00")


@dataclass
class Lot:
    """A batch being made up; its cards have the keys `first_card` and the following ones."""

    pk: int
    first_card: int
    quantity: int
    made: datetime
    expires: datetime
    type: str
    name: str
    line: Line
    price: Decimal
    disabled: datetime | None
    used: Counter[int] = field(default_factory=Counter)
    dead: int = 0


@dataclass
class Use:
    at: datetime
    lot: Lot
    serial: int
    member: int
    order: int = 0
    number: str = ""
    key: uuid.UUID = field(default_factory=uuid.uuid4)
    state: str = OrderState.ACTIVE
    surcharge: Decimal = Decimal(0)

    @property
    def card(self) -> int:
        return self.lot.first_card + self.serial - 1

    @property
    def opened(self) -> datetime:
        return self.at + timedelta(seconds=20 + self.serial % 70)


class Volume:
    def __init__(self, cards: int) -> None:
        self.cards, self.now, self.chance = cards, timezone.now(), random.Random(7)  # noqa: S311 (no secret)
        self.staff = list(User.objects.filter(is_staff=True, is_active=True).order_by("pk"))
        self.lines = list(Line.objects.filter(active=True, provider=demo.PROVIDER))
        self.first_member = next_key(User)
        self.members = max(cards // CARDS_A_MEMBER, 10)
        self.lots = list(self._lots())
        self.uses = sorted(self._uses(), key=lambda use: use.at)
        for order, use in enumerate(self.uses, start=next_key(Order)):
            use.order, use.number = order, f"V{order:010d}"

    def _lots(self) -> Iterator[Lot]:
        count, chance = self.cards // CARDS_A_BATCH, self.chance
        sizes = [chance.choice(SIZES) for _batch in range(count)]
        sizes[0] += self.cards - sum(sizes)
        if sizes[0] < 1:
            sizes[0], sizes[1] = 1, sizes[1] + sizes[0] - 1
        pk, card = next_key(Batch), next_key(Card)
        for number, size in enumerate(sizes):
            made = self.now - YEARS * (1 - number / count) - timedelta(minutes=5)
            line = chance.choice(self.lines)
            offers = [kind for kind in ProductType if getattr(line, f"offers_{kind.value}")]
            expires = made.replace(hour=16, minute=0, second=0, microsecond=0) + timedelta(
                days=chance.choice((365, 730))
            )
            off = self.now if chance.random() < 0.02 else None
            price = Decimal(chance.choice((300, 500, 1000, 2400)))
            name = chance.choice(NAMES)
            yield Lot(pk + number, card, size, made, expires, chance.choice(offers), name, line, price, off)
            card += size

    def _uses(self) -> Iterator[Use]:
        chance = self.chance
        for lot in self.lots:
            until = min(self.now - timedelta(minutes=5), lot.expires)
            for serial in range(1, lot.quantity + 1):
                luck = chance.random()
                if 0.2 <= luck < 0.202:
                    lot.dead += 1  # disabled one by one; which, `_cards` decides
                if luck >= 0.2:
                    continue
                at = lot.made + (until - lot.made) * chance.random()
                yield self._use(lot, serial, at)

    def _use(self, lot: Lot, serial: int, at: datetime) -> Use:
        chance, luck = self.chance, self.chance.random()
        use = Use(at, lot, serial, self.first_member + int(self.members * chance.random() ** 3))
        if at > self.now - timedelta(hours=4):
            use.state = chance.choice([OrderState.ACTIVE, *IN_FLIGHT])
        elif luck < 0.01:
            use.state = OrderState.CANCELLED
        elif luck < 0.012:
            use.state = chance.choice([OrderState.CLOSED, OrderState.FAILED, OrderState.NEEDS_ATTENTION])
        if lot.type == ProductType.CLOUD_SERVER and use.state == OrderState.ACTIVE and chance.random() < 0.15:
            use.surcharge = SURCHARGE
        if use.state != OrderState.CANCELLED:
            lot.used[serial] = use.member
        return use

    # --- writing --------------------------------------------------------------------------------------------------
    def write(self) -> dict[str, int]:
        """Returns the number of rows of each kind."""
        made = {"members": self._members(), "batches": self._batches(), "cards": self._cards()}
        made |= {"orders": self._orders(), "services": self._services()}
        made |= {"ledger": self._ledger(), "refused": self._refused(), "audit": self._audit()}
        statistics.summarise()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
        else:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        return made

    def _members(self) -> int:
        def rows() -> Iterator[tuple[Any, ...]]:
            for pk in range(self.first_member, self.first_member + self.members):
                external = str(800_000 + pk) if pk % 3 else None
                joined = self.now - YEARS * ((pk * 7919 % 9973) / 9973)
                yield pk, f"member{pk:06d}", f"m{pk:06d}@example.net", external, "!", joined, bool(pk % 200)

        return load(User, ("id", "username", "email", "external_id", "password", "date_joined", "is_active"), rows())

    def _batches(self) -> int:
        columns = (
            *("id", "product_type", "name", "line_id", "spec", "term_months", "reference_price", "currency"),
            *("quantity", "generated", "issued", "validity_kind", "validity_months", "expires_at", "windows_policy"),
            *("windows_surcharge", "status", "disabled_at", "progress_at", "wrapped_key", "key_id", "request_token"),
            *("created_by_id", "created_at"),
        )

        def rows() -> Iterator[tuple[Any, ...]]:
            for lot in self.lots:
                token = uuid.uuid4()
                key_id, wrapped = vault.new_data_key(token)
                paid = lot.type == ProductType.CLOUD_SERVER
                yield (
                    *(lot.pk, lot.type, lot.name, lot.line.pk, demo.SPECS[lot.type], 12, lot.price, settings.CURRENCY),
                    *(lot.quantity, lot.quantity, lot.quantity, ValidityKind.DATE.value, None, lot.expires),
                    (WindowsPolicy.MEMBER_PAYS if paid else WindowsPolicy.NOT_OFFERED).value,
                    *(SURCHARGE if paid else Decimal(0), BatchStatus.READY.value, lot.disabled, lot.made),
                    *(wrapped, key_id, token, self.staff[lot.pk % len(self.staff)].pk, lot.made),
                )

        made = load(Batch, columns, rows())
        slots = ((lot.pk, slot, sum(1 for s in lot.used if s % USE_COUNT_SLOTS == slot))
                 for lot in self.lots for slot in range(USE_COUNT_SLOTS))  # fmt: skip
        load(UseCount, ("batch_id", "slot", "used"), slots)
        return made

    def _cards(self) -> int:
        returned = {use.card for use in self.uses if use.state == OrderState.CANCELLED}
        at = {use.card: use.at for use in self.uses}
        unused, used, disabled = CardStatus.UNUSED.value, CardStatus.USED.value, CardStatus.DISABLED.value

        def rows() -> Iterator[tuple[Any, ...]]:
            for lot in self.lots:
                left = lot.dead
                for serial in range(1, lot.quantity + 1):
                    pk = lot.first_card + serial - 1
                    lookup = hashlib.sha256(b"volume" + pk.to_bytes(8, "big")).digest()
                    last4 = lookup.hex()[:4].upper()
                    if member := lot.used.get(serial):
                        yield pk, lot.pk, serial, lookup, None, last4, used, at[pk], member
                    elif pk in returned:
                        yield pk, lot.pk, serial, lookup, None, last4, unused, None, None
                    else:
                        status, left = (disabled, left - 1) if left else (unused, 0)
                        yield pk, lot.pk, serial, lookup, lookup + lookup[:21], last4, status, None, None
                lot.dead -= left

        columns = ("id", "batch_id", "serial", "lookup", "sealed", "last4", "status", "used_at", "used_by_id")
        made = load(Card, columns, rows())
        load(DisabledCount, ("batch_id", "cards"), ((lot.pk, lot.dead) for lot in self.lots if lot.dead))
        uses = (
            (use.card, use.lot.pk, use.member, use.number, use.at,
             use.opened if use.state == OrderState.CANCELLED else None)
            for use in self.uses
        )  # fmt: skip
        load(CardUse, ("card_id", "batch_id", "member_id", "order_number", "used_at", "returned_at"), uses)
        return made

    def _orders(self) -> int:
        columns = (
            *("id", "key", "number", "member_id", "card_id", "returned_card_id", "batch_id", "product_type"),
            *("product_name", "line_id", "provider", "spec", "term_months", "os_name", "os_family"),
            *("hostname", "domain", "surcharge", "currency", "state", "attempts", "next_attempt_at", "fence"),
            *("deadline", "external_id", "last_error", "created_at", "opened_at"),
        )

        def rows() -> Iterator[tuple[Any, ...]]:
            for use in self.uses:
                lot, back = use.lot, use.state == OrderState.CANCELLED
                site = f"{use.number.lower()}.hosted.example" if lot.type == ProductType.VIRTUAL_HOST else ""
                windows = bool(use.surcharge)
                system = "Windows Server 2022" if windows else "" if site else "Debian 12"
                family = OSFamily.WINDOWS.value if windows else "" if site else OSFamily.LINUX.value
                opened = use.state == OrderState.ACTIVE
                trouble = use.state in (OrderState.FAILED, OrderState.NEEDS_ATTENTION)
                waits = self.now + timedelta(days=1)
                yield (
                    *(use.order, use.key, use.number, use.member, None if back else use.card),
                    *(use.card if back else None, lot.pk, lot.type, lot.name, lot.line.pk, lot.line.provider),
                    *(demo.SPECS[lot.type], 12, system, family, site or f"srv-{use.number.lower()}", site),
                    *(use.surcharge, settings.CURRENCY, str(use.state), 1, waits, 1),
                    *(waits, f"vol-{use.order}" if opened else "", "quota exceeded" if trouble else "", use.at),
                    use.opened if opened else None,
                )

        made = load(Order, columns, rows())
        load(OrderEvent, ("order_id", "kind", "at"), self._events())
        attempts = (
            (use.order, 1, use.at, use.opened, (AttemptOutcome.READY if use.state == OrderState.ACTIVE
                                                else AttemptOutcome.PERMANENT).value)
            for use in self.uses
        )  # fmt: skip
        load(ProvisioningAttempt, ("order_id", "fence", "started_at", "finished_at", "outcome"), attempts)
        return made

    def _events(self) -> Iterator[tuple[Any, ...]]:
        kinds = {
            OrderState.ACTIVE: OrderEventKind.OPENED,
            OrderState.CANCELLED: OrderEventKind.CANCELLED,
            OrderState.CLOSED: OrderEventKind.CLOSED,
            OrderState.FAILED: OrderEventKind.FAILED,
            OrderState.NEEDS_ATTENTION: OrderEventKind.NEEDS_ATTENTION,
        }
        for use in self.uses:
            yield use.order, OrderEventKind.CREATED.value, use.at
            yield use.order, OrderEventKind.STARTED.value, use.at
            if kind := kinds.get(OrderState(use.state)):
                yield use.order, kind.value, use.opened

    def _services(self) -> int:
        sealed = vault.seal_access({"user": "root"}, order_key=uuid.uuid4())

        def rows() -> Iterator[tuple[Any, ...]]:
            for use in self.uses:
                if use.state == OrderState.ACTIVE:
                    ends = use.opened + timedelta(days=365)
                    over = ends < self.now
                    state = (ServiceState.TERMINATED if over else ServiceState.ACTIVE).value
                    seen = (SeenState.GONE if over else SeenState.ACTIVE).value
                    yield (
                        *(use.order, use.member, use.lot.line.provider, f"vol-{use.order}", sealed, state, state),
                        *(use.opened, ends, seen, self.now, self.now + timedelta(hours=6)),
                    )

        columns = (
            *("order_id", "member_id", "provider", "external_id", "access", "state", "wanted"),
            *("starts_at", "expires_at", "seen_state", "seen_at", "check_at"),
        )
        return load(Service, columns, rows())

    def _ledger(self) -> int:
        balance: dict[int, Decimal] = {}
        entries: Counter[int] = Counter()

        def move(member: int, kind: LedgerKind, amount: Decimal, reference: str, at: datetime) -> tuple[Any, ...]:
            balance[member] = balance.get(member, Decimal(0)) + amount
            entries[member] += 1
            return member, entries[member], kind.value, amount, balance[member], reference, at

        def rows() -> Iterator[tuple[Any, ...]]:
            for use in self.uses:
                if use.surcharge:
                    if balance.get(use.member, Decimal(0)) < use.surcharge:
                        yield move(use.member, LedgerKind.TOP_UP, Decimal(100), f"V{use.order}", use.at)
                    yield move(use.member, LedgerKind.SURCHARGE, -use.surcharge, use.number, use.at)

        columns = ("member_id", "sequence", "kind", "amount", "balance_after", "reference", "created_at")
        return load(LedgerEntry, columns, rows())

    def _refused(self) -> int:
        chance, count = self.chance, self.cards // 20

        def when(number: int) -> datetime:
            at = self.now - timedelta(days=390) * (1 - number / count)
            return at.replace(minute=0, second=0, microsecond=0)

        def rows() -> Iterator[tuple[Any, ...]]:
            for number in range(count):
                member, hour = self.first_member + int(self.members * chance.random() ** 2), when(number)
                address = f"203.0.{chance.randrange(256)}.{chance.randrange(256)}"
                if chance.random() < 0.8:
                    yield hour, member, address, TryOutcome.UNKNOWN.value, None, None, chance.randint(1, 9), hour
                else:
                    use = chance.choice(self.uses)
                    yield hour, member, address, TryOutcome.USED.value, use.card, use.lot.pk, 1, hour

        columns = ("hour", "member_id", "address", "outcome", "card_id", "batch_id", "tries", "last_at")
        return load(RefusedTry, columns, rows())

    # --- audit ----------------------------------------------------------------------------------------------------
    def _audit(self) -> int:
        """As many events as cards: what was done, and looks at single codes for the rest."""
        deeds: list[tuple[datetime, AuditAction, int, int, int | None, dict[str, Any]]] = []
        for lot in self.lots:
            who = self.staff[lot.pk % len(self.staff)].pk
            deeds.append((lot.made, AuditAction.CREATE_BATCH, who, lot.pk, None, {"quantity": lot.quantity}))
            deeds.append((lot.made, AuditAction.DOWNLOAD, who, lot.pk, None, {"cards": lot.quantity, "format": "txt"}))
        for use in self.uses:
            detail = {"order": use.number, "member": use.member}
            deeds.append((use.at, AuditAction.REDEEM, use.member, use.lot.pk, use.card, detail))
            if use.state == OrderState.CANCELLED:
                back = (use.opened, AuditAction.RETURN_CARD, self.staff[0].pk, use.lot.pk, use.card)
                deeds.append((*back, {"order": use.number}))
        for _more in range(self.cards - len(deeds)):
            lot, who = self.chance.choice(self.lots), self.chance.choice(self.staff).pk
            at = lot.made + (self.now - lot.made) * self.chance.random()
            serial = self.chance.randint(1, lot.quantity)
            deeds.append((at, AuditAction.REVEAL, who, lot.pk, lot.first_card + serial - 1, {"serial": serial}))
        deeds.sort(key=lambda deed: deed[0])

        def rows() -> Iterator[tuple[Any, ...]]:
            address = "198.51.100.7"
            for at, action, actor, batch, card, detail in deeds:
                event = AuditEvent(action=action, actor_id=actor, batch_id=batch, card_id=card, detail=detail, at=at)
                event.address = address
                mark = audit.mark_of(event, os.urandom(audit.SALT))
                yield action.value, actor, batch, card, detail, address, at, mark

        columns = ("action", "actor_id", "batch_id", "card_id", "detail", "address", "at", "mark")
        made = load(AuditEvent, columns, rows())
        chain.seal_new_events(everything=True)
        return made
