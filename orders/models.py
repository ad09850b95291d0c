"""What was redeemed and what became of it."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cards.choices import OSFamily, ProductType
from cards.models import Batch, Card, Line

from .choices import (
    FINAL,
    GIVEN_UP,
    IN_FLIGHT,
    AttemptOutcome,
    NoticeKind,
    OrderEventKind,
    OrderState,
    SeenState,
    ServiceState,
)
from .inventory import Machine
from .wishes import shown_domain

__all__ = ["DomainChange", "Machine", "Notice", "Order", "OrderEvent", "ProvisioningAttempt", "Service"]


class Order(models.Model):
    """One redeemed card. The row is also the work queue: `next_attempt_at` says when it is due, `called_at` when the
    sweep last told a worker so.

    `card` is given up (NULL) when the order is cancelled and the card returned; until then the one-to-one makes a
    second order for a card impossible. `fence` grows with every claim, and every write of a worker carries it.
    A site has its `hostname` below our own hosting domain and answers under `domain`, the same until the member names
    his own. `login` is the SSH key and password the member wished for, sealed, and dropped once the order is final.
    An order that was given up stands as a tombstone until `clean_up_until`: its key is looked up at the provider again
    at `clean_up_at`, and what a late worker left there is removed.
    """

    key = models.UUIDField(_("idempotency key"), default=uuid.uuid4, unique=True, editable=False)
    number = models.CharField(_("order number"), max_length=20, unique=True, editable=False)
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", db_index=False
    )
    card = models.OneToOneField(Card, on_delete=models.PROTECT, null=True, related_name="order")
    returned_card = models.ForeignKey(Card, on_delete=models.PROTECT, null=True, related_name="cancelled_orders")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="orders")
    product_type = models.CharField(_("business type"), max_length=16, choices=ProductType)
    product_name = models.CharField(_("card name"), max_length=100)
    line = models.ForeignKey(Line, on_delete=models.PROTECT, related_name="orders")
    provider = models.CharField(_("provisioner"), max_length=64)
    spec = models.JSONField(_("configuration"))
    term_months = models.PositiveSmallIntegerField(_("term"))
    os_name = models.CharField(_("operating system"), max_length=160, blank=True)
    os_family = models.CharField(max_length=16, choices=OSFamily, blank=True)
    image_reference = models.CharField(max_length=200, blank=True)
    hostname = models.CharField(_("host name"), max_length=253, blank=True)
    domain = models.CharField(_("domain"), max_length=253, blank=True)
    login = models.BinaryField(null=True)
    language = models.CharField(max_length=16, blank=True)  # in which it was placed; mails go by it
    surcharge = models.DecimalField(_("Windows surcharge"), max_digits=12, decimal_places=2, default=Decimal(0))
    currency = models.CharField(max_length=3)

    state = models.CharField(_("state"), max_length=16, choices=OrderState, default=OrderState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    called_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    deadline = models.DateTimeField()
    external_id = models.CharField(max_length=200, blank=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(_("picked up at"), default=timezone.now)
    opened_at = models.DateTimeField(_("opened at"), null=True)
    clean_up_at = models.DateTimeField(null=True)
    clean_up_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("pickup order")
        verbose_name_plural = _("pickup orders")
        ordering = ["-id"]
        permissions = [
            ("retry_order", "Can restart an order"),
            ("return_card", "Can cancel an order and return its card"),
            ("resolve_order", "Can close an order or enter what was opened by hand"),
            ("redeem_for_member", "Can redeem a card on behalf of a member"),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state__in=IN_FLIGHT), name="order_due"),
            models.Index(fields=["clean_up_at"], condition=Q(clean_up_at__isnull=False), name="order_clean_up"),
            models.Index(fields=["member", "id"], name="order_member"),
            models.Index(fields=["state", "id"], name="order_state"),
            models.Index(fields=["created_at"], name="order_created"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=OrderState.CANCELLED, card__isnull=True, returned_card__isnull=False)
                | (~Q(state=OrderState.CANCELLED) & Q(card__isnull=False, returned_card__isnull=True)),
                name="order_holds_its_card",
            ),
            models.CheckConstraint(condition=Q(state__in=OrderState.values), name="order_state_known"),
            models.CheckConstraint(condition=Q(surcharge__gte=0), name="order_surcharge"),
            models.CheckConstraint(
                condition=~Q(state=OrderState.ACTIVE) | (Q(opened_at__isnull=False) & ~Q(external_id="")),
                name="order_active_is_open",
            ),
            models.UniqueConstraint(fields=["domain"], condition=~Q(domain=""), name="order_domain_unique"),
            models.CheckConstraint(
                condition=~Q(state__in=FINAL) | Q(login__isnull=True),
                name="order_open_keeps_no_login",
            ),
            models.CheckConstraint(
                condition=Q(clean_up_at__isnull=True) | Q(state__in=GIVEN_UP, clean_up_until__isnull=False),
                name="order_cleans_up_when_given_up",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def shown_domain(self) -> str:
        return shown_domain(self.domain)


class OrderEvent(models.Model):
    """The order's timeline; append-only."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=16, choices=OrderEventKind)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    note = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("order event")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%F %T}"


class ProvisioningAttempt(models.Model):
    """One call to a provider, committed before the call is made. `error` is scrubbed of secrets by the adapter."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="provisioning_attempts")
    fence = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=16, choices=AttemptOutcome, default=AttemptOutcome.STARTED)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = _("provisioning attempt")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["order", "fence"], name="attempt_once_per_claim")]

    def __str__(self) -> str:
        return f"{self.order_id}#{self.fence} {self.outcome}"


class ServiceQuerySet(models.QuerySet["Service"]):
    def drifting(self) -> Self:
        """Those that the provider says are something else than the portal believes, while no change is under way."""
        settled = self.filter(next_attempt_at__isnull=True).exclude(seen_state="")
        return settled.exclude(seen_state=F("state"))

    def unsettled(self) -> Self:
        """Those whose change a person has to carry through or drop."""
        return self.filter(needs_attention=True)


class Service(models.Model):
    """What the member owns. `access` is the sealed JSON of the access details, opened by `cards.vault.open_access`.

    `wanted` is what staff or the calendar decided, `state` what the provider was last brought to; the row is the queue
    that leads from one to the other (`orders.lifecycle`), like the order's. `seen_state` and `facts` are what the
    provider itself said at `seen_at`; `check_at` is when it is asked again (`orders.reconcile`).
    """

    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="service")
    member = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="services")
    provider = models.CharField(max_length=64)
    external_id = models.CharField(max_length=200)
    access = models.BinaryField()
    state = models.CharField(_("state"), max_length=16, choices=ServiceState, default=ServiceState.ACTIVE)
    starts_at = models.DateTimeField(_("starts"))
    expires_at = models.DateTimeField(_("runs until"))

    wanted = models.CharField(max_length=16, choices=ServiceState, default=ServiceState.ACTIVE)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)  # null: nothing to do
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    needs_attention = models.BooleanField(default=False)
    by_hand = models.BooleanField(default=False)  # opened past the adapter, which knows nothing of it
    last_error = models.CharField(max_length=300, blank=True)

    seen_state = models.CharField(max_length=16, choices=SeenState, blank=True)
    seen_at = models.DateTimeField(null=True)
    facts = models.JSONField(default=dict)
    check_at = models.DateTimeField(default=timezone.now)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        verbose_name = _("service")
        ordering = ["-id"]
        permissions = [
            ("suspend_service", "Can suspend, resume and extend services"),
            ("terminate_service", "Can terminate services"),
            ("check_provisioners", "Can ask the provisioners how they are and for orphans"),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="service_due"),
            models.Index(fields=["check_at"], condition=~Q(state=ServiceState.TERMINATED), name="service_check"),
            models.Index(fields=["id"], condition=Q(needs_attention=True), name="service_stuck"),
            models.Index(fields=["state", "id"], name="service_state"),
            models.Index(fields=["expires_at"], condition=~Q(wanted=ServiceState.TERMINATED), name="service_expiry"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["provider", "external_id"], name="service_resource_unique"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("starts_at")), name="service_runs_forward"),
            models.CheckConstraint(
                condition=Q(state__in=ServiceState.values, wanted__in=ServiceState.values), name="service_state_known"
            ),
            # What was decided and is not done is queued, or with a person: never forgotten.
            models.CheckConstraint(
                condition=Q(state=F("wanted")) | Q(next_attempt_at__isnull=False) | Q(needs_attention=True),
                name="service_decision_pursued",
            ),
            models.CheckConstraint(
                condition=Q(needs_attention=False) | Q(next_attempt_at__isnull=True), name="service_rests_with_staff"
            ),
            models.CheckConstraint(
                condition=~Q(state=ServiceState.TERMINATED) | Q(wanted=ServiceState.TERMINATED),
                name="service_end_is_final",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.external_id}"


class DomainChange(models.Model):
    """A site shall answer under another domain. The row is the queue, like the order's: `next_attempt_at` says when.

    One that is neither done nor due waits for staff, and `error` says why.
    """

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="domain_changes")
    domain = models.CharField(_("domain"), max_length=253)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    done_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name = _("domain change")
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="domain_change_due"
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=Q(done_at__isnull=True), name="domain_change_one_open"),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True) | Q(next_attempt_at__isnull=True), name="domain_change_done_rests"
            ),
        ]

    def __str__(self) -> str:
        return self.domain


class Notice(models.Model):
    """One e-mail that is owed, written in the transaction of what it tells; `orders.notices` sends it.

    One for each `occasion` of its kind: the claim's fence, or the days and the end that a reminder speaks of. It is
    mailed, due, or given up; what it says is read from the order when it is sent.
    """

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="notices")
    kind = models.CharField(max_length=16, choices=NoticeKind)
    occasion = models.CharField(max_length=60)
    expires_at = models.DateTimeField(null=True)  # of a reminder: the end it speaks of
    days = models.PositiveSmallIntegerField(null=True)  # of a reminder: how long before it
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    mailed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = _("e-mail notice")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="notice_due")
        ]
        constraints = [
            models.UniqueConstraint(fields=["order", "kind", "occasion"], name="notice_once_per_occasion"),
            models.CheckConstraint(
                condition=Q(mailed_at__isnull=True) | Q(next_attempt_at__isnull=True), name="notice_mailed_rests"
            ),
            models.CheckConstraint(
                condition=~Q(kind=NoticeKind.EXPIRING) | Q(expires_at__isnull=False, days__isnull=False),
                name="notice_reminder_of_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.occasion}"
