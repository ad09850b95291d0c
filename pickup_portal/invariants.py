"""What must hold at every instant, each as one query that finds the breaches.

One statement each, so that every answer comes from one snapshot of the database and a portal in service gives no
false alarm. The constraints of the tables forbid much of this already; here the database is asked once more, and
about what no constraint can say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum, Window
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Abs, Coalesce
from django.utils import timezone

from accounts.choices import LedgerKind
from accounts.models import LedgerEntry
from cards import chain
from cards.choices import AuditAction, BatchStatus, CardStatus
from cards.models import AuditEvent, Batch, Card, CardUse, Replacement
from orders.choices import GIVEN_UP, IN_FLIGHT, MachineState, OrderEventKind, OrderState, ServiceState
from orders.models import Machine, Order, OrderEvent, Service

HALF_A_CENT = Decimal("0.005")  # SQLite adds decimals as floating point
STALLED = timedelta(minutes=10)
UNATTENDED = timedelta(hours=1)
UNSEALED = timedelta(minutes=10)

Breaches = QuerySet[Any, Any]
EXAMPLES = 5


@dataclass(frozen=True)
class Invariant:
    """`breaches` finds the rows that break the promise; where no query can, it lists what is wrong in words."""

    name: str
    promise: str
    breaches: Callable[[], Breaches | list[str]]

    def check(self) -> tuple[int, list[Any]]:
        """(how many breaches, the first of them: primary keys or words)."""
        found = self.breaches()
        if isinstance(found, list):
            return len(found), found[:EXAMPLES]
        count = found.count()
        return count, list(found.values_list("pk", flat=True)[:EXAMPLES]) if count else []


def used_cards() -> QuerySet[Card]:
    return Card.objects.filter(status=CardStatus.USED)


def open_uses() -> QuerySet[CardUse]:
    return CardUse.objects.filter(returned_at__isnull=True)


def used_without_use() -> Breaches:
    matching = open_uses().filter(
        card=OuterRef("pk"), batch=OuterRef("batch"), member=OuterRef("used_by"), used_at=OuterRef("used_at")
    )
    return used_cards().filter(~Exists(matching)).order_by("pk")


def used_without_order() -> Breaches:
    matching = Order.objects.filter(card=OuterRef("pk"), batch=OuterRef("batch"), member=OuterRef("used_by"))
    return used_cards().filter(~Exists(matching)).order_by("pk")


def use_without_used_card() -> Breaches:
    return open_uses().exclude(card__status=CardStatus.USED).order_by("pk")


def use_without_its_order() -> Breaches:
    held = Order.objects.filter(number=OuterRef("order_number"), card=OuterRef("card"))
    returned = Order.objects.filter(number=OuterRef("order_number"), returned_card=OuterRef("card"))
    return (
        CardUse.objects.filter(
            (Q(returned_at__isnull=True) & ~Exists(held)) | (Q(returned_at__isnull=False) & ~Exists(returned))
        )
        .exclude(order_number="")
        .order_by("pk")
    )


def order_without_used_card() -> Breaches:
    kept = Order.objects.exclude(state=OrderState.CANCELLED)
    use = open_uses().filter(card=OuterRef("card"), order_number=OuterRef("number"))
    return kept.filter(~Q(card__status=CardStatus.USED) | ~Exists(use)).order_by("pk")


def ready_batch_not_whole() -> Breaches:
    counted = Batch.objects.filter(status=BatchStatus.READY).annotate(
        cards_made=Count("cards"), first=Coalesce(Min("cards__serial"), 0), last=Coalesce(Max("cards__serial"), 0)
    )
    # Serials are unique in a batch, so that N of them from 1 to N leave no gap.
    return counted.exclude(cards_made=F("quantity"), first=1, last=F("quantity")).order_by("pk")


def growing_batch_off_watermark() -> Breaches:
    counted = Batch.objects.exclude(status=BatchStatus.READY).annotate(
        cards_made=Count("cards"), last=Coalesce(Max("cards__serial"), 0)
    )
    return counted.exclude(cards_made=F("generated"), last=F("generated")).order_by("pk")


def used_before_issued() -> Breaches:
    return used_cards().filter(serial__gt=F("batch__issued")).order_by("pk")


def replacement_off() -> Breaches:
    """The old card is void, the new one is another card of the same batch, with a later serial."""
    sound = Q(old__status=CardStatus.DISABLED, old__batch=F("new__batch"), old__serial__lt=F("new__serial"))
    return Replacement.objects.exclude(sound).order_by("pk")


def replaced_count_off() -> Breaches:
    links = (
        Replacement.objects.filter(old__batch=OuterRef("pk")).order_by().values("old__batch").annotate(n=Count("pk"))
    )
    batches = Batch.objects.annotate(really_replaced=Coalesce(Subquery(links.values("n")), 0))
    return batches.exclude(replaced=F("really_replaced")).order_by("pk")


def count_off() -> Breaches:
    """`used_cards` sums the counter slots; the right figure is the number of used cards."""
    right = used_cards().filter(batch=OuterRef("pk")).order_by().values("batch").annotate(n=Count("pk")).values("n")
    batches = Batch.objects.with_used().annotate(really_used=Coalesce(Subquery(right), 0))
    return batches.exclude(used_cards=F("really_used")).order_by("pk")  # type: ignore[misc]  # of `with_used`


def disabled_count_off() -> Breaches:
    disabled = Card.objects.filter(batch=OuterRef("pk"), status=CardStatus.DISABLED).order_by().values("batch")
    right = Coalesce(Subquery(disabled.annotate(n=Count("pk")).values("n")), 0)
    batches = Batch.objects.annotate(counted=Coalesce(F("disabled_count__cards"), 0), really_disabled=right)
    return batches.exclude(counted=F("really_disabled")).order_by("pk")


def used_with_ciphertext() -> Breaches:
    return used_cards().filter(sealed__isnull=False).order_by("pk")


def lost_ciphertext() -> Breaches:
    """Only a card that was used once and returned, or that was replaced, may be without its ciphertext."""
    returned = CardUse.objects.filter(card=OuterRef("pk"), returned_at__isnull=False)
    unused = Card.objects.exclude(status=CardStatus.USED).filter(sealed__isnull=True)
    replaced = Replacement.objects.filter(old=OuterRef("pk"))
    return unused.filter(~Exists(returned), ~Exists(replaced)).order_by("pk")


def active_without_service() -> Breaches:
    service = Service.objects.filter(order=OuterRef("pk"), member=OuterRef("member"))
    return Order.objects.filter(~Exists(service), state=OrderState.ACTIVE).order_by("pk")


def service_without_active_order() -> Breaches:
    return Service.objects.exclude(order__state=OrderState.ACTIVE).order_by("pk")


def machine_for_nobody() -> Breaches:
    """In use, and nobody is to have it: its order was given up and is looked after no longer, or its service ended, or
    they are another provisioner's."""
    given_up = Q(order__state__in=GIVEN_UP, order__clean_up_at__isnull=True)
    over = Q(order__service__state=ServiceState.TERMINATED)
    strangers = ~Q(provisioner=F("order__provider"))
    in_use = Machine.objects.filter(state=MachineState.ASSIGNED)
    return in_use.filter(Q(order__isnull=True) | given_up | over | strangers).order_by("pk")


def machine_shared() -> Breaches:
    """An order's second machine, or one that it holds although the next order would be given it."""
    others = Machine.objects.filter(order=OuterRef("order")).exclude(pk=OuterRef("pk"))
    held = Machine.objects.filter(order__isnull=False)
    return held.filter(Exists(others) | ~Q(state=MachineState.ASSIGNED)).order_by("pk")


def ledger_off() -> Breaches:
    """The balance after each entry is the sum up to it, and sequences count 1..n."""
    so_far: dict[str, Any] = {"partition_by": "member", "order_by": "sequence"}
    entries = LedgerEntry.objects.annotate(running=Window(Sum("amount"), **so_far), nth=Window(Count("pk"), **so_far))
    off = entries.annotate(gap=Abs(F("running") - F("balance_after")))
    return off.filter(Q(gap__gte=HALF_A_CENT) | ~Q(nth=F("sequence"))).order_by("pk")


def surcharge_not_charged() -> Breaches:
    """What an order says it cost and what the ledger took for it, refunds of cancelled orders aside."""
    charged = LedgerEntry.objects.filter(
        kind=LedgerKind.SURCHARGE, reference=OuterRef("number"), member=OuterRef("member")
    )
    orders = Order.objects.annotate(paid=Coalesce(Subquery(charged.values("amount")[:1]), Decimal(0)))
    off = orders.annotate(gap=Abs(F("paid") + F("surcharge")))
    return off.filter(gap__gte=HALF_A_CENT).order_by("pk")


def ledger_negative() -> Breaches:
    return LedgerEntry.objects.filter(balance_after__lt=0).order_by("pk")


def snapshot_off() -> Breaches:
    """What an order promises is what its batch sold."""
    sold = ("product_type", "line", "spec", "term_months", "currency")
    return Order.objects.exclude(**{name: F(f"batch__{name}") for name in sold}).order_by("pk")


def order_without_beginning() -> Breaches:
    placed = OrderEvent.objects.filter(order=OuterRef("pk"), kind=OrderEventKind.CREATED)
    return Order.objects.filter(~Exists(placed)).order_by("pk")


def use_without_audit() -> Breaches:
    redeemed = AuditEvent.objects.filter(action=AuditAction.REDEEM, card=OuterRef("card"), batch=OuterRef("batch"))
    same = redeemed.annotate(order=KeyTextTransform("order", "detail")).filter(order=OuterRef("order_number"))
    return CardUse.objects.filter(~Exists(same)).order_by("pk")


def batch_without_audit() -> Breaches:
    made = AuditEvent.objects.filter(
        action__in=[AuditAction.CREATE_BATCH, AuditAction.IMPORT_BATCH], batch=OuterRef("pk")
    )
    return Batch.objects.filter(~Exists(made)).order_by("pk")


def chain_broken() -> list[str]:
    return [
        f"link {found.position}{f' (event {found.event_id})' if found.event_id else ''}: {found.what}"
        for found in chain.verify()
    ]


def event_not_genuine() -> list[str]:
    """The links vouch for the events they hold; here are the others, and copies of any."""
    invented = [f"event {event.pk}: not written by the portal" for event in chain.forged()]
    return invented + [f"events {ids}: copies of one" for ids in chain.copied()]


def events_left_unsealed() -> Breaches:
    return chain.unsealed().filter(at__lt=timezone.now() - UNSEALED)


def overdue_unattended() -> Breaches:
    """Past its deadline the sweep hands an order to staff; one lease and a few sweeps later nothing is left."""
    late = timezone.now() - settings.TASK_LEASE - 5 * settings.SWEEP_INTERVAL - timedelta(minutes=1)
    return Order.objects.filter(state__in=IN_FLIGHT, deadline__lt=late).order_by("pk")


def service_outlived() -> Breaches:
    """The sweep decides to suspend what has run out; whatever it takes to carry that out is told elsewhere."""
    late = timezone.now() - UNATTENDED - max(settings.SERVICE_SUSPEND_AFTER.values())
    return Service.objects.filter(wanted=ServiceState.ACTIVE, expires_at__lt=late).order_by("pk")


def decision_left() -> Breaches:
    late = timezone.now() - UNATTENDED - settings.TASK_LEASE - settings.ORDER_BACKOFF_CAP
    return Service.objects.filter(next_attempt_at__lt=late).order_by("pk")


def stalled_batches() -> Breaches:
    return Batch.objects.filter(
        status=BatchStatus.GENERATING, progress_at__lt=timezone.now() - STALLED - settings.GENERATION_STALLED_AFTER
    ).order_by("pk")


def anchored(noted: str) -> Invariant:
    """That the chain still holds a link that was noted outside the database."""
    return Invariant(
        "anchor",
        "The audit chain holds the link that was noted.",
        lambda: [wrong] if (wrong := chain.misses(noted)) else [],
    )


INVARIANTS = [
    Invariant("card-use", "Every used card has exactly one open line in the usage log.", used_without_use),
    Invariant("card-order", "Every used card has its order.", used_without_order),
    Invariant("use-card", "Every open line of the usage log stands for a used card.", use_without_used_card),
    Invariant("use-order", "Every line of the usage log has its order.", use_without_its_order),
    Invariant("order-card", "Every order not cancelled holds a used card.", order_without_used_card),
    Invariant("serials", "A ready batch has the serials 1 to N.", ready_batch_not_whole),
    Invariant(
        "watermark", "A growing or cancelled batch has the serials 1 to its watermark.", growing_batch_off_watermark
    ),
    Invariant("issued", "No card was used that was not issued.", used_before_issued),
    Invariant("replacement", "Every replaced card is void, its replacement in the same batch.", replacement_off),
    Invariant("replaced-count", "The count of replaced cards of every batch is right.", replaced_count_off),
    Invariant("used-count", "The count of used cards of every batch is right.", count_off),
    Invariant("disabled-count", "The count of disabled cards of every batch is right.", disabled_count_off),
    Invariant("no-ciphertext", "No used card still holds its code.", used_with_ciphertext),
    Invariant("ciphertext", "Every card never used nor replaced still holds its code.", lost_ciphertext),
    Invariant("order-service", "Every active order has its service.", active_without_service),
    Invariant("service-order", "Every service belongs to an active order.", service_without_active_order),
    Invariant("machine-order", "Every machine in use belongs to an order that is wanted.", machine_for_nobody),
    Invariant("order-machine", "No order holds two machines, nor one that is not in use.", machine_shared),
    Invariant("ledger", "Every balance is the sum of its entries.", ledger_off),
    Invariant("ledger-negative", "No balance was ever negative.", ledger_negative),
    Invariant("surcharge", "Every surcharge was charged once, as much as the order says.", surcharge_not_charged),
    Invariant("snapshot", "Every order promises what its batch sold.", snapshot_off),
    Invariant("order-event", "Every order's timeline begins with its placing.", order_without_beginning),
    Invariant("audit-use", "Every use of a card is in the audit trail.", use_without_audit),
    Invariant("audit-batch", "The making of every batch is in the audit trail.", batch_without_audit),
    Invariant("audit-chain", "The chain over the audit trail holds from its first link to its last.", chain_broken),
    Invariant("audit-marks", "Every audit event was written by the portal, once.", event_not_genuine),
    Invariant("audit-sealed", "No audit event is left out of the chain for long.", events_left_unsealed),
    Invariant("deadline", "No order is in flight past its deadline, unattended.", overdue_unattended),
    Invariant("service-ended", "No service goes on long after its term.", service_outlived),
    Invariant("service-due", "No decision about a service is left lying.", decision_left),
    Invariant("stalled", "No batch has stopped growing half made.", stalled_batches),
]
