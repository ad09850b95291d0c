"""What is sold where: lines with their prices, server models, operating systems and their images.

`cards.models` offers these classes too; `cards.catalogue_actions` is their only writer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .choices import OSFamily


def price_field(label: Any) -> models.DecimalField[Any, Any]:
    return models.DecimalField(
        label, max_digits=10, decimal_places=2, default=Decimal(0), validators=[MinValueValidator(Decimal(0))]
    )


class Line(models.Model):
    """A network route or region a product is sold on (线路), with its monthly unit prices at Linux rates."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    region = models.CharField(_("region"), max_length=100, blank=True)
    provider = models.CharField(_("provisioner"), max_length=64, help_text=_("A key of the setting PROVISIONERS."))
    offers_cloud_server = models.BooleanField(_("cloud servers"), default=False)
    offers_virtual_host = models.BooleanField(_("virtual hosts"), default=False)
    offers_bare_metal = models.BooleanField(_("bare metal"), default=False)
    cpu_core_price = price_field(_("per CPU core"))
    memory_gb_price = price_field(_("per GB of memory"))
    system_disk_gb_price = price_field(_("per GB of system disk"))
    data_disk_gb_price = price_field(_("per GB of data disk"))
    bandwidth_mbps_price = price_field(_("per Mbps of bandwidth"))
    extra_ip_price = price_field(_("per further IP address"))
    web_space_gb_price = price_field(_("per GB of web space"))
    database_price = price_field(_("per database"))
    windows_monthly_price = models.DecimalField(
        _("Windows, per month"),
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: Linux and Windows cost the same on this line."),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("line")
        verbose_name_plural = _("lines")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    cpu_core_price__gte=0,
                    memory_gb_price__gte=0,
                    system_disk_gb_price__gte=0,
                    data_disk_gb_price__gte=0,
                    bandwidth_mbps_price__gte=0,
                    extra_ip_price__gte=0,
                    web_space_gb_price__gte=0,
                    database_price__gte=0,
                ),
                name="line_prices",
            ),
            models.CheckConstraint(
                condition=Q(windows_monthly_price__isnull=True) | Q(windows_monthly_price__gte=0),
                name="line_windows_price",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ServerModel(models.Model):
    """A bare-metal model that a line rents out, with its monthly price."""

    line = models.ForeignKey(Line, on_delete=models.PROTECT, related_name="server_models")
    name = models.CharField(_("server model"), max_length=100)
    monthly_price = price_field(_("per month"))
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("server model")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["line", "name"], name="server_model_unique"),
            models.CheckConstraint(condition=Q(monthly_price__gte=0), name="server_model_price"),
        ]

    def __str__(self) -> str:
        return self.name


class OperatingSystem(models.Model):
    name = models.CharField(_("name"), max_length=100)
    version = models.CharField(_("version"), max_length=50, blank=True)
    family = models.CharField(_("family"), max_length=16, choices=OSFamily)

    class Meta:
        verbose_name = _("operating system")
        ordering = ["family", "name", "version"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="operating_system_unique")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Image(models.Model):
    """An operating system on a line, under the provider's own reference."""

    line = models.ForeignKey(Line, on_delete=models.CASCADE, related_name="images")
    operating_system = models.ForeignKey(OperatingSystem, on_delete=models.PROTECT, related_name="images")
    reference = models.CharField(_("provider's reference"), max_length=200)
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("image")
        ordering = ["operating_system__family", "operating_system__name", "operating_system__version"]
        constraints = [models.UniqueConstraint(fields=["line", "operating_system"], name="image_unique")]

    def __str__(self) -> str:
        return f"{self.operating_system} ({self.line})"
