"""The portal's own inventory: bare-metal machines that no control plane keeps for it. `orders.models` offers it too."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .choices import MachineState


class MachineQuerySet(models.QuerySet["Machine"]):
    def free(self, provisioner: str) -> Self:
        """In the order in which they are given out: one that was handed back untouched comes after the others."""
        known = self.filter(provisioner=provisioner, state=MachineState.FREE)
        return known.order_by(models.F("handed_back_at").asc(nulls_first=True), "pk")


class Machine(models.Model):
    """One machine, reached by its management controller (BMC).

    It is one order's at most, and an order's only one: `order` is one-to-one, and set exactly while the state says so.
    `login` is the controller's user name and password, sealed under `key`. `begun_at`, `phoned_at` and `opened_at` are
    what was noted since it was assigned. `more_addresses` are separated by blanks.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    provisioner = models.CharField(_("provisioner"), max_length=64)
    server_model = models.CharField(_("server model"), max_length=100)
    serial = models.CharField(_("serial number"), max_length=60)
    url = models.CharField(_("controller's address"), max_length=200)
    system = models.CharField(_("system's path"), max_length=200)
    login = models.BinaryField()
    mac = models.CharField(_("MAC address"), max_length=17, blank=True)
    address = models.GenericIPAddressField(_("IP address"), unpack_ipv4=True)
    more_addresses = models.CharField(_("further IP addresses"), max_length=500, blank=True)
    note = models.CharField(_("note"), max_length=200, blank=True)

    state = models.CharField(_("state"), max_length=16, choices=MachineState, default=MachineState.FREE)
    order = models.OneToOneField("orders.Order", on_delete=models.PROTECT, null=True, related_name="machine")
    last_order = models.ForeignKey(
        "orders.Order", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    assigned_at = models.DateTimeField(null=True)
    begun_at = models.DateTimeField(null=True)
    phoned_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(null=True)
    handed_back_at = models.DateTimeField(null=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)  # why it is out of service
    created_at = models.DateTimeField(default=timezone.now)

    objects = MachineQuerySet.as_manager()

    class Meta:
        verbose_name = _("machine")
        verbose_name_plural = _("machines")
        ordering = ["-id"]
        permissions = [("switch_machine", "Can put machines out of service and back")]
        indexes = [
            models.Index(
                fields=["provisioner", "server_model", "id"], condition=Q(state=MachineState.FREE), name="machine_free"
            ),
            models.Index(fields=["state", "id"], name="machine_state"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=MachineState.ASSIGNED, order__isnull=False, assigned_at__isnull=False)
                | (~Q(state=MachineState.ASSIGNED) & Q(order__isnull=True)),
                name="machine_held_while_assigned",
            ),
            models.CheckConstraint(condition=Q(state__in=MachineState.values), name="machine_state_known"),
            # The same machine entered twice would be two members'.
            models.UniqueConstraint(fields=["url", "system"], name="machine_entered_once"),
            models.UniqueConstraint(fields=["serial"], name="machine_serial_unique"),
            models.UniqueConstraint(fields=["address"], name="machine_address_unique"),
        ]

    def __str__(self) -> str:
        return self.serial
