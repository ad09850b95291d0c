"""The catalogue (线路、操作系统): what is sold, where, and for how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Model, Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.address import client_address

from .. import catalogue_actions as actions
from ..catalogue_forms import (
    HOST_PRICES,
    OFFERS,
    SERVER_PRICES,
    ImageForm,
    LineForm,
    OperatingSystemForm,
    ServerModelForm,
)
from ..choices import ProductType
from ..exceptions import AlreadyThere
from ..models import Image, Line, OperatingSystem, ServerModel
from .access import StaffRequest, staff_view

AnyForm = LineForm | ServerModelForm | OperatingSystemForm | ImageForm


@staff_view("cards.view_line")
@require_GET
def line_list(request: StaffRequest) -> HttpResponse:
    lines = Line.objects.annotate(
        image_count=Count("images", filter=Q(images__active=True), distinct=True),
        model_count=Count("server_models", filter=Q(server_models__active=True), distinct=True),
    ).order_by("-active", "name")
    return render(request, "staff/line_list.html", {"rows": [(line, _offered(line)) for line in lines]})


@staff_view("cards.view_line")
@require_GET
def line_detail(request: StaffRequest, pk: int) -> HttpResponse:
    line = get_object_or_404(Line, pk=pk)
    context = {
        "line": line,
        "offered": _offered(line),
        "prices": [
            (Line._meta.get_field(name).verbose_name, getattr(line, name))  # type: ignore[union-attr]
            for name in [*SERVER_PRICES, *HOST_PRICES]
        ],
        "images": line.images.select_related("operating_system"),
        "models": line.server_models.all(),
        "configured": line.provider in settings.PROVISIONERS,
        "batches": line.batches.count(),
    }
    return render(request, "staff/line_detail.html", context)


def _offered(line: Line) -> list[str]:
    return [str(kind.label) for kind, name in zip(ProductType, OFFERS, strict=True) if getattr(line, name)]


@staff_view("cards.add_line")
@require_http_methods(["GET", "POST"])
def line_add(request: StaffRequest) -> HttpResponseBase:
    return _edit_line(request, Line(), _("Add a line"), reverse("staff:line-list"))


@staff_view("cards.change_line")
@require_http_methods(["GET", "POST"])
def line_edit(request: StaffRequest, pk: int) -> HttpResponseBase:
    line = get_object_or_404(Line, pk=pk)
    title = _("Change %(name)s") % {"name": line.name}
    return _edit_line(request, line, title, reverse("staff:line-detail", args=[pk]))


def _edit_line(request: StaffRequest, line: Line, title: str, back: str) -> HttpResponseBase:
    form = LineForm(request.POST or None, instance=line)
    currency = {"currency": settings.CURRENCY}
    context = {
        "line": line,
        "parts": [
            (_("Line"), [form[name] for name in ("name", "region", "provider")], [form["active"]]),
            (_("Business type"), [], [form[name] for name in OFFERS]),
            (
                _("Linux prices in %(currency)s, each per month") % currency,
                [form[name] for name in (*SERVER_PRICES, *HOST_PRICES)],
                [],
            ),
            (_("Windows"), [form["windows"], form["windows_monthly_price"]], []),
        ],
    }
    return _edit(
        request,
        form,
        title,
        back,
        context,
        lambda fields, who: actions.save_line(line=_row(form), fields=fields, **who),
    )


@staff_view("cards.add_servermodel")
@require_http_methods(["GET", "POST"])
def server_model_add(request: StaffRequest, pk: int) -> HttpResponseBase:
    return _edit_model(request, ServerModel(line=get_object_or_404(Line, pk=pk)), _("Add a server model"))


@staff_view("cards.change_servermodel")
@require_http_methods(["GET", "POST"])
def server_model_edit(request: StaffRequest, pk: int) -> HttpResponseBase:
    model = get_object_or_404(ServerModel.objects.select_related("line"), pk=pk)
    return _edit_model(request, model, _("Change %(name)s") % {"name": model.name})


def _edit_model(request: StaffRequest, model: ServerModel, title: str) -> HttpResponseBase:
    form = ServerModelForm(request.POST or None, instance=model)
    back = reverse("staff:line-detail", args=[model.line_id])
    return _edit(
        request,
        form,
        title,
        back,
        {"line": model.line},
        lambda fields, who: actions.save_server_model(model=_row(form), fields=fields, **who),
    )


@staff_view("cards.add_image")
@require_http_methods(["GET", "POST"])
def image_add(request: StaffRequest, pk: int) -> HttpResponseBase:
    return _edit_image(request, Image(line=get_object_or_404(Line, pk=pk)), _("Add an image"))


@staff_view("cards.change_image")
@require_http_methods(["GET", "POST"])
def image_edit(request: StaffRequest, pk: int) -> HttpResponseBase:
    image = get_object_or_404(Image.objects.select_related("line", "operating_system"), pk=pk)
    return _edit_image(request, image, _("Change %(name)s") % {"name": image.operating_system})


def _edit_image(request: StaffRequest, image: Image, title: str) -> HttpResponseBase:
    form = ImageForm(request.POST or None, instance=image)
    back = reverse("staff:line-detail", args=[image.line_id])
    return _edit(
        request,
        form,
        title,
        back,
        {"line": image.line},
        lambda fields, who: actions.save_image(image=_row(form), fields=fields, **who),
    )


@staff_view("cards.view_operatingsystem")
@require_GET
def system_list(request: StaffRequest) -> HttpResponse:
    systems = OperatingSystem.objects.annotate(line_count=Count("images", filter=Q(images__active=True)))
    return render(request, "staff/system_list.html", {"systems": systems})


@staff_view("cards.add_operatingsystem")
@require_http_methods(["GET", "POST"])
def system_add(request: StaffRequest) -> HttpResponseBase:
    return _edit_system(request, OperatingSystem(), _("Add an operating system"))


@staff_view("cards.change_operatingsystem")
@require_http_methods(["GET", "POST"])
def system_edit(request: StaffRequest, pk: int) -> HttpResponseBase:
    system = get_object_or_404(OperatingSystem, pk=pk)
    return _edit_system(request, system, _("Change %(name)s") % {"name": system})


def _edit_system(request: StaffRequest, system: OperatingSystem, title: str) -> HttpResponseBase:
    form = OperatingSystemForm(request.POST or None, instance=system)
    return _edit(
        request,
        form,
        title,
        reverse("staff:system-list"),
        {},
        lambda fields, who: actions.save_operating_system(system=_row(form), fields=fields, **who),
    )


def _row(form: Any) -> Any:
    """The row as it stands in the database (the form has put what was typed into its own copy)."""
    row = form.instance
    if row.pk is not None:
        row.refresh_from_db()
    return row


def _edit(
    request: StaffRequest,
    form: AnyForm,
    title: str,
    back: str,
    context: dict[str, Any],
    save: Callable[[dict[str, Any], dict[str, Any]], Model],
) -> HttpResponseBase:
    """The form's page; a good POST is saved and leads back."""
    if request.method == "POST" and form.is_valid():
        try:
            row = save(form.columns(), {"actor": request.user, "address": client_address(request)})
        except AlreadyThere as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("%(name)s is saved.") % {"name": row})
            return redirect("staff:line-detail", pk=row.pk) if isinstance(row, Line) else redirect(back)
    context |= {"form": form, "title": title, "back": back}
    return render(request, "staff/catalogue_form.html", context, status=422 if form.errors else 200)
