"""The three product types: what each is configured by, whether it asks for an operating system, how it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .choices import ProductType
from .models import Line


class SpecForm(forms.Form):
    """Validates one product type's configuration; `spec()` is its JSON."""

    def __init__(self, *args: Any, line: Line | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.line = line

    def spec(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


def whole(label: Any, low: int, high: int, initial: int, unit: Any = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=low, max_value=high, initial=initial, help_text=unit)


class CloudServerSpec(SpecForm):
    cpu_cores = whole(_("CPU cores"), 1, 128, 2)
    memory_gb = whole(_("Memory (GB)"), 1, 1024, 4)
    system_disk_gb = whole(_("System disk (GB)"), 10, 4096, 40)
    data_disk_gb = whole(_("Data disk (GB)"), 0, 65536, 0)
    bandwidth_mbps = whole(_("Public bandwidth (Mbps)"), 1, 10000, 5)
    ip_count = whole(_("IP addresses"), 1, 64, 1)


class VirtualHostSpec(SpecForm):
    web_space_gb = whole(_("Web space (GB)"), 1, 10000, 10)
    databases = whole(_("Databases"), 0, 1000, 1)
    sites = whole(_("Sites"), 1, 1000, 1)
    traffic_gb = whole(_("Monthly traffic (GB)"), 1, 1000000, 100)


class BareMetalSpec(SpecForm):
    server_model = forms.CharField(
        label=_("Server model"), max_length=100, help_text=_("Choose the line first: its models are offered then.")
    )
    cpu = forms.CharField(label=_("CPU"), max_length=100)
    memory_gb = whole(_("Memory (GB)"), 1, 8192, 64)
    disks = forms.CharField(label=_("Disks"), max_length=200)
    bandwidth_mbps = whole(_("Public bandwidth (Mbps)"), 1, 100000, 50)
    ip_count = whole(_("IP addresses"), 1, 256, 1)

    def __init__(self, *args: Any, line: Line | None = None, **kwargs: Any) -> None:
        super().__init__(*args, line=line, **kwargs)
        if line is not None:
            names = line.server_models.filter(active=True).values_list("name", flat=True)
            self.fields["server_model"] = forms.ChoiceField(
                label=_("Server model"), choices=[(name, name) for name in names]
            )


SpecFormClass = type[SpecForm]  # inside Product the name `type` means its field


@dataclass(frozen=True)
class Product:
    type: ProductType
    needs_os: bool
    spec_form: SpecFormClass
    offered: str  # the field of Line that says whether the line offers it

    @property
    def is_site(self) -> bool:
        """It answers under a domain, where a server has a host name and a login of the member's choice."""
        return not self.needs_os


PRODUCTS = {
    ProductType.CLOUD_SERVER: Product(ProductType.CLOUD_SERVER, True, CloudServerSpec, "offers_cloud_server"),
    ProductType.VIRTUAL_HOST: Product(ProductType.VIRTUAL_HOST, False, VirtualHostSpec, "offers_virtual_host"),
    ProductType.BARE_METAL: Product(ProductType.BARE_METAL, True, BareMetalSpec, "offers_bare_metal"),
}


def product_of(product_type: str) -> Product:
    return PRODUCTS[ProductType(product_type)]


def lines_offering(product_type: str) -> Any:
    """Active lines that offer the product type."""
    return Line.objects.filter(active=True, **{product_of(product_type).offered: True})


def describe(product_type: str, spec: dict[str, Any]) -> list[tuple[str, str]]:
    """[(label, value)] of a configuration in the active language, in the form's order."""
    fields = product_of(product_type).spec_form().fields
    return [(str(field.label), str(spec[name])) for name, field in fields.items() if spec.get(name) not in (None, "")]


def short(product_type: str, spec: dict[str, Any]) -> str:
    """The configuration in one line, such as "2 cores · 4 GB · 40 GB · 5 Mbps"."""
    if product_type == ProductType.VIRTUAL_HOST:
        sites = ngettext("%(n)d site", "%(n)d sites", spec["sites"]) % {"n": spec["sites"]}
        return f"{spec['web_space_gb']} GB · {sites}"
    if product_type == ProductType.BARE_METAL:
        return f"{spec['server_model']} · {spec['cpu']} · {spec['memory_gb']} GB · {spec['bandwidth_mbps']} Mbps"
    cores = ngettext("%(n)d core", "%(n)d cores", spec["cpu_cores"]) % {"n": spec["cpu_cores"]}
    disk = spec["system_disk_gb"] + spec["data_disk_gb"]
    return f"{cores} · {spec['memory_gb']} GB · {disk} GB · {spec['bandwidth_mbps']} Mbps"
