"""Staff pages about the inventory of machines: what there is, whose it is, what waits to be cleaned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from accounts.address import client_address
from accounts.paging import KeysetPage
from cards.views.access import StaffRequest, staff_view, without_codes

from . import machine_actions as actions
from .choices import FINAL, MachineState
from .deeds import Deed, deed_page
from .exceptions import MachineError, OrderNotSettled
from .machine_forms import MachineFilter, MachineForm, inventory_keys
from .models import Machine
from .staff_forms import DeedForm, ProvenDeedForm

MACHINES_A_PAGE = 50


@staff_view("orders.view_machine")
@require_GET
@without_codes(imported=False)
def machine_list(request: StaffRequest) -> HttpResponse:
    counts = dict(Machine.objects.order_by().values_list("state").annotate(Count("pk")))
    models = list(Machine.objects.order_by("server_model").values_list("server_model", flat=True).distinct())
    form = MachineFilter(request.GET, models=models)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    machines = Machine.objects.select_related("order", "last_order").defer("login", "order__login", "last_order__login")
    for name in ("state", "server_model"):
        if name in chosen:
            machines = machines.filter(**{name: chosen[name]})
    if text := chosen.get("q", "").strip():
        machines = machines.filter(
            Q(serial__istartswith=text) | Q(address__startswith=text) | Q(order__number=text.upper())
        )
    context = {
        "form": form,
        "page": KeysetPage(machines, request, size=MACHINES_A_PAGE),
        "narrowed": bool(chosen),
        "cleaning": counts.get(MachineState.CLEANING, 0),
        "free": counts.get(MachineState.FREE, 0),
        "total": sum(counts.values()),
        "possible": bool(inventory_keys()),
    }
    return render(request, "staff/machine_list.html", context)


@staff_view("orders.add_machine")
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def machine_add(request: StaffRequest) -> HttpResponseBase:
    form = MachineForm(request.POST or None)

    @sensitive_variables("login")
    def save() -> None:
        if login := form.login():
            actions.add_machines(rows=[(form.columns(), login)], **_who(request))

    return _form_page(request, form, _("Add a machine"), save)


@staff_view("orders.change_machine")
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def machine_edit(request: StaffRequest, pk: int) -> HttpResponseBase:
    machine = get_object_or_404(Machine, pk=pk)
    form = MachineForm(request.POST or None, instance=get_object_or_404(Machine, pk=pk))

    def save() -> None:
        actions.change_machine(machine=machine, columns=form.columns(), login=form.login(), **_who(request))

    return _form_page(request, form, _("Change %(name)s") % {"name": machine.serial}, save, machine)


def _form_page(
    request: StaffRequest, form: MachineForm, title: str, save: Callable[[], None], machine: Machine | None = None
) -> HttpResponseBase:
    if request.method == "POST" and form.is_valid():
        try:
            save()
        except MachineError as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("%(name)s is saved.") % {"name": form.cleaned_data["serial"]})
            return redirect("staff-orders:machine-list")
    context = {"form": form, "title": title, "machine": machine, "possible": bool(inventory_keys())}
    return render(request, "staff/machine_form.html", context, status=422 if form.errors else 200)


@staff_view("orders.switch_machine")
@require_http_methods(["GET", "POST"])
def machine_out(request: StaffRequest, pk: int) -> HttpResponseBase:
    machine, form = _machine(pk), ProvenDeedForm(request.POST or None, request=request)
    says = [_("No order gets this machine until it is put back.")]
    if machine.order and machine.order.state not in FINAL:
        says = [str(OrderNotSettled(machine.order.number))]
    elif machine.order:
        says += [
            _(
                "Order %(number)s holds it and loses it: a member's server goes on running, "
                "but the portal no longer knows it."
            )
            % {"number": machine.order.number},
            _("Do this only when the machine is broken or out of reach."),
        ]

    def act() -> str:
        actions.take_out(machine=machine, reason=form.cleaned_data["reason"], **_who(request))
        return _("%(name)s is out of service.") % {"name": machine.serial}

    return deed_page(request, _deed(machine, _("Put out of service"), says, danger=True), form, act)


@staff_view("orders.switch_machine")
@require_http_methods(["GET", "POST"])
def machine_back(request: StaffRequest, pk: int) -> HttpResponseBase:
    machine, form = _machine(pk), DeedForm(request.POST or None)
    says = [
        _("You say that its disks are wiped, that it is switched off and in order. The portal cannot see that."),
        _("The next order of this model may get it at once."),
    ]
    if machine.last_order:
        says.insert(0, _("The last order that held it was %(number)s.") % {"number": machine.last_order.number})

    def act() -> str:
        actions.put_back(machine=machine, reason=form.cleaned_data["reason"], **_who(request))
        return _("%(name)s is free.") % {"name": machine.serial}

    return deed_page(request, _deed(machine, _("Clean: free again"), says), form, act)


def _deed(machine: Machine, button: str, says: list[str], *, danger: bool = False) -> Deed:
    back = reverse("staff-orders:machine-list")
    return Deed(
        title=f"{machine.serial} · {machine.server_model}",
        button=button,
        says=says,
        back=back,
        trail=[(_("Machines"), back)],
        danger=danger,
    )


def _machine(pk: int) -> Machine:
    return get_object_or_404(Machine.objects.select_related("order", "last_order"), pk=pk)


def _who(request: StaffRequest) -> dict[str, Any]:
    return {"actor": request.user, "address": client_address(request)}
