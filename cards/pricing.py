"""The reference price of a configuration: the line's monthly Linux prices times the term."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from .choices import ProductType
from .models import Line, ServerModel


@dataclass(frozen=True)
class QuoteRow:
    label: str
    quantity: int
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.unit_price


@dataclass(frozen=True)
class Quote:
    """`rows` are monthly; `total` is for the whole term, in the portal's currency."""

    rows: list[QuoteRow]
    term_months: int

    @property
    def monthly(self) -> Decimal:
        return sum((row.amount for row in self.rows), Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.monthly * self.term_months


def quote(line: Line, product_type: str, spec: dict[str, Any], term_months: int) -> Quote:
    """What the configuration costs on that line, row by row, at Linux prices."""
    rows = {
        ProductType.CLOUD_SERVER: _cloud_server,
        ProductType.VIRTUAL_HOST: _virtual_host,
        ProductType.BARE_METAL: _bare_metal,
    }[ProductType(product_type)](line, spec)
    return Quote([row for row in rows if row.quantity], term_months)


def windows_surcharge(line: Line, term_months: int) -> Decimal:
    """What Windows costs above Linux on that line for the whole term; 0 where both cost the same."""
    return (line.windows_monthly_price or Decimal(0)) * term_months


def _network(line: Line, spec: dict[str, Any]) -> list[QuoteRow]:
    return [
        QuoteRow(_("Public bandwidth (Mbps)"), spec["bandwidth_mbps"], line.bandwidth_mbps_price),
        QuoteRow(_("Further IP addresses"), spec["ip_count"] - 1, line.extra_ip_price),
    ]


def _cloud_server(line: Line, spec: dict[str, Any]) -> list[QuoteRow]:
    return [
        QuoteRow(_("CPU cores"), spec["cpu_cores"], line.cpu_core_price),
        QuoteRow(_("Memory (GB)"), spec["memory_gb"], line.memory_gb_price),
        QuoteRow(_("System disk (GB)"), spec["system_disk_gb"], line.system_disk_gb_price),
        QuoteRow(_("Data disk (GB)"), spec["data_disk_gb"], line.data_disk_gb_price),
        *_network(line, spec),
    ]


def _virtual_host(line: Line, spec: dict[str, Any]) -> list[QuoteRow]:
    return [
        QuoteRow(_("Web space (GB)"), spec["web_space_gb"], line.web_space_gb_price),
        QuoteRow(_("Databases"), spec["databases"], line.database_price),
    ]


def _bare_metal(line: Line, spec: dict[str, Any]) -> list[QuoteRow]:
    model = ServerModel.objects.filter(line=line, name=spec["server_model"]).first()
    price = model.monthly_price if model else Decimal(0)
    return [QuoteRow(spec["server_model"], 1, price), *_network(line, spec)]
