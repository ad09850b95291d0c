"""How every form of the portal renders: Bootstrap classes on widgets, one field layout."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting

_CHOICES = (forms.CheckboxInput, forms.RadioSelect, forms.CheckboxSelectMultiple)


class PortalBoundField(BoundField):
    """A bound field whose widget carries the classes of our stylesheet, wherever it is rendered."""

    def build_widget_attrs(self, attrs: dict[str, Any], widget: forms.Widget | None = None) -> dict[str, Any]:
        widget = widget or self.field.widget
        attrs = super().build_widget_attrs(attrs, widget)
        if widget.is_hidden:
            return attrs
        classes = [widget.attrs.get("class", ""), attrs.get("class", ""), widget_class(widget)]
        if self.errors:
            classes.append("is-invalid")
        attrs["class"] = " ".join(dict.fromkeys(" ".join(classes).split()))
        return attrs

    @property
    def is_choice(self) -> bool:
        """A lone checkbox: its label stands behind it."""
        return isinstance(self.field.widget, forms.CheckboxInput)


def widget_class(widget: forms.Widget) -> str:
    if isinstance(widget, _CHOICES):
        return "form-check-input"
    if isinstance(widget, forms.Select):
        return "form-select"
    return "form-control"


class PortalFormRenderer(TemplatesSetting):
    """Forms render through `templates/django/forms`."""

    bound_field_class = PortalBoundField
