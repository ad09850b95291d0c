"""What staff type about the catalogue. The forms check; `catalogue_actions` writes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from .models import Image, Line, OperatingSystem, ServerModel

OFFERS = ("offers_cloud_server", "offers_virtual_host", "offers_bare_metal")
SERVER_PRICES = (
    "cpu_core_price",
    "memory_gb_price",
    "system_disk_gb_price",
    "data_disk_gb_price",
    "bandwidth_mbps_price",
    "extra_ip_price",
)
HOST_PRICES = ("web_space_gb_price", "database_price")
ON_SALE = _("On sale")  # as the lists say it


class LineForm(forms.ModelForm[Line]):
    """A line; its Windows price is asked as a choice, so that an empty field never means something by accident."""

    provider = forms.ChoiceField(label=_("Provisioner"), help_text=_("What opens the products of this line."))
    windows = forms.ChoiceField(
        label=_("Windows"),
        widget=forms.RadioSelect,
        choices=[("same", _("Costs the same as Linux")), ("extra", _("Costs more, each month"))],
    )

    class Meta:
        model = Line
        fields = [
            "name",
            "region",
            "provider",
            *OFFERS,
            *SERVER_PRICES,
            *HOST_PRICES,
            "windows_monthly_price",
            "active",
        ]
        labels = {"active": ON_SALE}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = list(settings.PROVISIONERS)
        if self.instance.provider and self.instance.provider not in known:
            known.append(self.instance.provider)
        self.fields["provider"] = forms.ChoiceField(
            label=self.fields["provider"].label,
            help_text=self.fields["provider"].help_text,
            choices=[(key, key) for key in known],
        )
        self.fields["windows"].initial = "same" if self.instance.windows_monthly_price is None else "extra"
        price = self.fields["windows_monthly_price"]
        price.label = _("Windows, more than Linux per month (%(currency)s)") % {"currency": settings.CURRENCY}
        price.help_text = ""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("windows") == "same":
            data["windows_monthly_price"] = None
        elif "windows_monthly_price" not in self.errors and data.get("windows_monthly_price") is None:
            self.add_error("windows_monthly_price", _("Say how much more Windows costs each month."))
        if not any(data.get(name) for name in OFFERS):
            self.add_error("offers_cloud_server", _("Choose at least one product that the line offers."))
        return data

    def columns(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != "windows"}


class ServerModelForm(forms.ModelForm[ServerModel]):
    class Meta:
        model = ServerModel
        fields = ["name", "monthly_price", "active"]
        labels = {"active": ON_SALE}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["monthly_price"].label = _("Price per month (%(currency)s)") % {"currency": settings.CURRENCY}

    def columns(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


class OperatingSystemForm(forms.ModelForm[OperatingSystem]):
    class Meta:
        model = OperatingSystem
        fields = ["name", "version", "family"]

    def columns(self) -> dict[str, Any]:
        return dict(self.cleaned_data)


class ImageForm(forms.ModelForm[Image]):
    class Meta:
        model = Image
        fields = ["operating_system", "reference", "active"]
        labels = {"operating_system": _("Operating system"), "active": ON_SALE}
        help_texts = {"reference": _("The name or ID under which the provisioner knows this image.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:  # a member's choice keeps its meaning: another system is another image
            del self.fields["operating_system"]

    def columns(self) -> dict[str, Any]:
        return dict(self.cleaned_data)
