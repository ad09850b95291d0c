"""The states of orders and services, with the named groups that code asks for."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class OrderState(models.TextChoices):
    PENDING = "pending", _("Pending")
    PROVISIONING = "provisioning", _("Provisioning")
    ACTIVE = "active", pgettext_lazy("order state", "Active")
    NEEDS_ATTENTION = "needs_attention", _("Needs attention")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    CLOSED = "closed", _("Closed")


IN_FLIGHT = (OrderState.PENDING, OrderState.PROVISIONING)
STUCK = (OrderState.NEEDS_ATTENTION, OrderState.FAILED)
FINAL = (OrderState.ACTIVE, OrderState.CANCELLED, OrderState.CLOSED)
GIVEN_UP = (OrderState.CANCELLED, OrderState.CLOSED)


class ServiceState(models.TextChoices):
    ACTIVE = "active", pgettext_lazy("service state", "Active")
    SUSPENDED = "suspended", _("Suspended")
    TERMINATED = "terminated", _("Terminated")


class SeenState(models.TextChoices):
    """What the provider itself said of a service when it was last asked. The same word as `ServiceState` where they
    mean the same, so that a difference is drift."""

    BUILDING = "building", _("Being built")
    ACTIVE = "active", pgettext_lazy("service state", "Active")
    SUSPENDED = "suspended", _("Suspended")
    FAILED = "failed", _("Failed")
    GONE = "terminated", _("Not there")


class MachineState(models.TextChoices):
    """Of a machine in the inventory. Only a person leads one from "to be cleaned" back to "free"."""

    FREE = "free", pgettext_lazy("machine state", "Free")
    ASSIGNED = "assigned", _("Assigned")
    CLEANING = "cleaning", _("To be cleaned")
    OUT = "out", _("Out of service")


class NoticeKind(models.TextChoices):
    """What is told by e-mail. To the member, but for the alert, which goes to staff."""

    OPENED = "opened", _("Opened")
    ATTENTION = "attention", _("Needs attention")
    EXPIRING = "expiring", _("Expires soon")
    STAFF_ALERT = "staff_alert", _("Alert to staff")


class AttemptOutcome(models.TextChoices):
    STARTED = "started", _("Started")
    IN_PROGRESS = "in_progress", _("In progress")
    READY = "ready", _("Ready")
    TRANSIENT = "transient", _("To be tried again")
    PERMANENT = "permanent", _("Refused")
    UNKNOWN = "unknown", _("Outcome unknown")


class OrderEventKind(models.TextChoices):
    CREATED = "created", _("Order placed")
    STARTED = "started", _("Opening started")
    RETRYING = "retrying", _("Will be tried again")
    OPENED = "opened", _("Opened")
    NEEDS_ATTENTION = "needs_attention", _("Handed to our staff")
    FAILED = "failed", _("Could not be opened")
    RETRIED = "retried", _("Restarted by staff")
    CANCELLED = "cancelled", _("Cancelled, card returned")
    OPENED_BY_HAND = "opened_by_hand", _("Opened by our staff")
    CLOSED = "closed", _("Closed by our staff")
    CLEANED_UP = "cleaned_up", _("Leftover removed at the provider")
    SUSPEND_ASKED = "suspend_asked", _("Suspension ordered")
    SUSPENDED = "suspended", _("Suspended")
    RESUME_ASKED = "resume_asked", _("Resumption ordered")
    RESUMED = "resumed", _("Resumed")
    TERMINATE_ASKED = "terminate_asked", _("Termination ordered")
    TERMINATED = "terminated", _("Terminated")
    SERVICE_STUCK = "service_stuck", _("Service handed to our staff")
    EXTENDED = "extended", _("Term extended")
    DOMAIN = "domain", _("Domain changed")
