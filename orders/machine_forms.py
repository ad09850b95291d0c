"""What staff type about machines, and what a line of an import must be like: one set of rules for both."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cards.models import ServerModel

from .choices import MachineState
from .inventory import Machine
from .machine_actions import Login
from .provisioning.inventory import InventoryProvisioner
from .provisioning.registry import get_provisioner
from .staff_forms import search_field

SYSTEMS = "/redfish/v1/Systems/"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_SYSTEM = re.compile(re.escape(SYSTEMS) + r"[\w.~-]+")


def inventory_keys() -> list[str]:
    """The provisioners whose machines stand in the portal's inventory."""
    return [key for key in settings.PROVISIONERS if _keeps_inventory(key)]


def _keeps_inventory(key: str) -> bool:
    try:
        return isinstance(get_provisioner(key), InventoryProvisioner)
    except ImproperlyConfigured:
        return False


class MachineForm(forms.ModelForm[Machine]):
    """A machine. Its login is never shown again; left empty, the one it has is kept."""

    provisioner = forms.ChoiceField(label=gettext_lazy("Provisioner"))
    username = forms.CharField(
        label=gettext_lazy("Controller's user name"),
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Controller's password"),
        max_length=200,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Machine
        fields = (
            "provisioner",
            "server_model",
            "serial",
            "url",
            "system",
            "username",
            "password",
            "address",
            "more_addresses",
            "mac",
            "note",
        )
        help_texts = {
            "server_model": gettext_lazy("As the catalogue names it on a line of this provisioner."),
            "url": gettext_lazy("Of the management controller (BMC), such as https://10.0.0.21."),
            "system": gettext_lazy("The system's name there, such as 1, or its path /redfish/v1/Systems/1."),
            "address": gettext_lazy("Given to the member. Your network gives it to the machine, by its MAC address."),
            "more_addresses": gettext_lazy("Separated by blanks; for cards with more than one address."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["provisioner"].choices = [(key, key) for key in inventory_keys()]  # type: ignore[attr-defined]
        if self.instance.pk:
            for name in ("username", "password"):
                self.fields[name].required = False
            self.fields["password"].help_text = _("Leave both empty to keep the login it has, at the same address.")

    def clean_url(self) -> str:
        try:
            parts = urlsplit(self.cleaned_data["url"].strip())
            right = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        except ValueError:  # brackets that hold no address, a port that is none
            right = False
        if not right or parts.path.strip("/") or parts.query:
            raise forms.ValidationError(_("An address such as https://10.0.0.21, with nothing behind it."))
        return f"https://{parts.netloc.lower()}"

    def clean_system(self) -> str:
        text = str(self.cleaned_data["system"]).strip().rstrip("/")
        path = text if text.startswith("/") else SYSTEMS + text
        if not _SYSTEM.fullmatch(path):
            raise forms.ValidationError(_("A name such as 1 or System.Embedded.1, or the path of one."))
        return path

    def clean_more_addresses(self) -> str:
        texts = re.split(r"[\s,;]+", self.cleaned_data["more_addresses"].strip())
        try:
            return " ".join(str(ip_address(text)) for text in texts if text)
        except ValueError:
            raise forms.ValidationError(_("IP addresses only, separated by blanks.")) from None

    def clean_mac(self) -> str:
        mac = str(self.cleaned_data["mac"]).strip().lower().replace("-", ":")
        if mac and not _MAC.fullmatch(mac):
            raise forms.ValidationError(_("A MAC address is written 52:54:00:12:34:56."))
        return mac

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        model, provisioner = data.get("server_model"), data.get("provisioner")
        if model and provisioner:
            known = ServerModel.objects.filter(line__provider=provisioner, name=model)
            if not known.exists():
                self.add_error("server_model", _("No line of this provisioner offers this model in the catalogue."))
        if self.instance.pk and bool(data.get("username")) != bool(data.get("password")):
            self.add_error("password", _("User name and password are changed together."))
        return data

    def columns(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name not in ("username", "password")}

    def login(self) -> Login | None:
        data = self.cleaned_data
        return Login(data["username"], data["password"]) if data["password"] else None


class MachineFilter(forms.Form):
    q = search_field(gettext_lazy("Serial number, IP address or order number"))
    state = forms.ChoiceField(
        label=gettext_lazy("State"), required=False, choices=[("", gettext_lazy("All")), *MachineState.choices]
    )
    server_model = forms.ChoiceField(label=gettext_lazy("Server model"), required=False)

    def __init__(self, *args: Any, models: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", _("All")), *((name, name) for name in models)]
        self.fields["server_model"].choices = choices  # type: ignore[attr-defined]
