"""Making a batch (添加提货卡): choose a product type, fill in its form, see the price as it is typed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.address import client_address

from .. import actions, catalog, pricing
from ..catalog import Product, SpecForm
from ..choices import BatchStatus, ProductType, ValidityKind, WindowsPolicy
from ..exceptions import BadBatch
from ..forms import LONGEST_MONTHS, TERM_CHOICES, BatchForm
from ..models import Batch, Line
from .access import StaffRequest, staff_view


@staff_view("cards.add_batch")
def batch_add(request: StaffRequest) -> HttpResponseBase:
    choices = [(kind, catalog.lines_offering(kind).count()) for kind in ProductType]
    return render(request, "staff/batch_add.html", {"choices": choices})


@staff_view("cards.add_batch")
def batch_add_type(request: StaffRequest, product_type: str) -> HttpResponseBase:
    product = _product_or_404(product_type)
    if request.method != "POST":
        if model := _model(request, product):
            return _form_page(request, product, *_like(model, product))
        lines = catalog.lines_offering(product.type)[:2]
        line = lines[0] if len(lines) == 1 else None  # of several, none is chosen for the person
        return _form_page(
            request, product, BatchForm(initial={"line": line}, product=product), product.spec_form(line=line)
        )
    if "calculate" in request.POST:  # without JavaScript: the same page with the price, nothing is checked yet
        form = BatchForm(initial=request.POST.dict(), product=product)
        return _form_page(request, product, form, _spec_as_typed(request, product))
    form, spec_form = BatchForm(request.POST, product=product), product.spec_form(request.POST, line=_line(request))
    if form.is_valid() & spec_form.is_valid():
        try:
            batch = _create(request, product, form, spec_form)
        except BadBatch as error:
            _show(error, form, spec_form)
        else:
            if batch.status == BatchStatus.WAITING:
                messages.info(
                    request, _("Batch %(number)s waits for another person's approval.") % {"number": batch.number}
                )
            else:
                messages.success(request, _("Batch %(number)s is being generated.") % {"number": batch.number})
            return redirect("staff:batch-detail", pk=batch.pk)
    return _form_page(request, product, form, spec_form)


@require_POST
@staff_view("cards.add_batch")
def batch_quote(request: StaffRequest, product_type: str) -> HttpResponseBase:
    """The price of what is typed so far; when another line was chosen, its own server models come with it."""
    product = _product_or_404(product_type)
    context = {"product": product, **_price_typed(request, product)}
    if request.htmx.trigger_name == "line":
        context["spec_form"] = _spec_as_typed(request, product)
    return render(request, "staff/_quote.html", context)


def _model(request: StaffRequest, product: Product) -> Batch | None:
    """The batch that the new one is to be like (?like=78), for people who may see it."""
    text = request.GET.get("like", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19 and request.user.has_perm("cards.view_batch")):
        return None
    return Batch.objects.select_related("line").filter(pk=int(text), product_type=product.type).first()


def _like(model: Batch, product: Product) -> tuple[BatchForm, SpecForm]:
    """The forms filled in as the batch was made. Its price stands only if it is not today's computed one, and a last
    day that is over is left to be chosen."""
    computed = pricing.quote(model.line, product.type, model.spec, model.term_months).total
    initial: dict[str, Any] = {
        "name": model.name,
        "line": model.line,
        "term_months": model.term_months,
        "quantity": model.total,
        "windows_policy": model.windows_policy,
        "reference_price": None if model.reference_price == computed else model.reference_price,
        "note": model.note,
    }
    if model.validity_kind == ValidityKind.DATE:
        over = model.expires_at <= timezone.now()
        initial |= {"validity": "date", "valid_until": None if over else model.last_day.date()}
    elif str(model.validity_months) in BatchForm.PERIODS:
        initial["validity"] = str(model.validity_months)
    else:
        initial |= {"validity": "months", "valid_months": model.validity_months}
    return BatchForm(initial=initial, product=product), product.spec_form(initial=model.spec, line=model.line)


def _product_or_404(product_type: str) -> Product:
    try:
        return catalog.product_of(product_type)
    except ValueError:
        raise Http404 from None


def _form_page(request: StaffRequest, product: Product, form: BatchForm, spec_form: SpecForm) -> HttpResponseBase:
    # `consume`: the form's own listener, which asks for the price alone, does not hear of it.
    form.fields["line"].widget.attrs |= {
        "hx-post": reverse("staff:batch-quote", args=[product.type]),
        "hx-trigger": "change consume",
    }
    context = {"product": product, "form": form, "spec_form": spec_form, "terms": TERM_CHOICES}
    status = 422 if form.errors or spec_form.errors else 200
    return render(request, "staff/batch_add_type.html", context | _price_typed(request, product), status=status)


def _line(request: StaffRequest) -> Line | None:
    text = request.POST.get("line", "")
    return Line.objects.filter(pk=int(text)).first() if text.isascii() and text.isdigit() and len(text) < 19 else None


def _spec_as_typed(request: StaffRequest, product: Product) -> SpecForm:
    return product.spec_form(initial=request.POST.dict(), line=_line(request))


def _price_typed(request: StaffRequest, product: Product) -> dict[str, Any]:
    """`quote` and `surcharge` for the posted line, configuration and term; empty while one is missing or wrong."""
    line, text = _line(request), request.POST.get("term_months", "")
    term = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if line is None or not 1 <= term <= LONGEST_MONTHS:
        return {}
    spec_form = product.spec_form(request.POST, line=line)
    if not spec_form.is_valid():
        return {}
    quote = pricing.quote(line, product.type, spec_form.spec(), term)
    return {
        "quote": quote,
        "together": _together(request, product, quote.total),
        "surcharge": pricing.windows_surcharge(line, term),
        "windows_policy": request.POST.get("windows_policy", ""),
    }


def _together(request: StaffRequest, product: Product, computed: Decimal) -> dict[str, Any]:
    """How many cards are typed and what they are worth together, at the typed price where there is one."""
    form = BatchForm(request.POST, product=product)
    form.is_valid()
    cards, typed = form.cleaned_data.get("quantity"), form.cleaned_data.get("reference_price")
    if not cards or "reference_price" in form.errors:
        return {}
    each = computed if typed is None else typed
    return {"cards": cards, "each": each, "worth": cards * each}


def _create(request: StaffRequest, product: Product, form: BatchForm, spec_form: SpecForm) -> Batch:
    data = form.cleaned_data
    return actions.create_batch(
        product_type=product.type,
        name=data["name"],
        line=data["line"],
        spec=spec_form.spec(),
        term_months=data["term_months"],
        quantity=data["quantity"],
        validity=form.validity_chosen(),
        windows_policy=data.get("windows_policy", WindowsPolicy.NOT_OFFERED),
        reference_price=data["reference_price"],
        created_by=request.user,
        request_token=data["request_token"],
        note=data["note"],
        address=client_address(request),
    )


def _show(error: BadBatch, form: BatchForm, spec_form: SpecForm) -> None:
    """Put what the action refused beside the fields it speaks of."""
    for name, texts in error.errors.items():
        home = spec_form if name in spec_form.fields else form
        for text in texts:
            home.add_error(name if name in home.fields else None, text)
