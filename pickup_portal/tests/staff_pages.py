"""Every staff page in every state that looks different: what stands in the database, and the way to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.urls import get_resolver, reverse
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from accounts.wakeup import muted
from cards import actions, attempts, chain, codes, generation, replacement
from cards.choices import BatchStatus, ProductType, TryOutcome, WindowsPolicy
from cards.models import AuditEvent, Batch, Card, Image, Line, OperatingSystem, RefusedTry, ServerModel
from cards.tests.factories import SPECS, ImageFactory, LineFactory, ServerModelFactory, make_batch
from orders import actions as order_actions
from orders import member_actions
from orders.choices import MachineState, OrderState
from orders.models import DomainChange, Machine, Order, ProvisioningAttempt, Service
from orders.tests.cast import place_order, put_into
from orders.tests.factories import MachineFactory
from pickup_portal.tests.test_permission_matrix import every_url

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "云服务器-香港 CN2 高防 2核4G 双十二促销"
ELSEWHERE = {  # nothing to look at: it answers with a file, a redirect or a piece of another page
    "staff:home", "staff:batch-csv", "staff:usage-csv", "staff:audit-csv", "staff-orders:csv", "staff:batch-progress",
    "staff:batch-quote", "staff-orders:retry", "staff-orders:retry-domain",
}  # fmt: skip
ACCOUNT = ["profile", "account_email", "account_change_password", "mfa_index", "usersessions_list", "account_logout"]


@dataclass(frozen=True)
class Visit:
    """A page in one state: its address, and what is done there before it is looked at."""

    view: str
    path: str
    state: str = ""
    then: Callable[[Page], None] | None = None

    def __str__(self) -> str:
        return f"{self.view} {self.state}".strip()


def visit(view: str, *args: Any, state: str = "", then: Callable[[Page], None] | None = None, **query: Any) -> Visit:
    asked = "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    return Visit(view, reverse(view, args=args) + asked, state, then)


def staff_views() -> set[str]:
    """The names of all URLs of the staff backend that answer with a page."""
    names = set(every_url(get_resolver().url_patterns))
    return {name for name in names if name.startswith(("staff:", "staff-orders:"))} - ELSEWHERE


# --- what is done on a page -------------------------------------------------------------------------------------------
def press(selector: str) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        with page.expect_navigation():
            page.locator(selector).first.click()

    return then


SEND = "main form .form-actions button[type=submit], main form .form-actions button, main form > button.btn"


def fill(*, send: str = SEND, **fields: str) -> Callable[[Page], None]:
    """Fill the page's main form and send it."""

    def then(page: Page) -> None:
        for name, value in fields.items():
            page.locator(f"main [name={name}]").last.fill(value)
        press(send)(page)

    return then


def one_after_another(*steps: Callable[[Page], None]) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        for step in steps:
            step(page)

    return then


def fetch(selector: str, awaited: str) -> Callable[[Page], None]:
    """Press what brings a piece of a page only."""

    def then(page: Page) -> None:
        page.locator(selector).first.click()
        page.wait_for_selector(awaited)

    return then


def tick_and_send(page: Page) -> None:
    for box in page.locator("input[name=serial][type=checkbox]").all()[:2]:
        box.check()
    press("#selection button[type=submit]")(page)


def open_everything(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true; })")


def take_file(page: Page) -> None:
    page.locator("main [name=reason]").fill("渠道代理")
    page.locator("main [name=password]").fill(PASSWORD)
    with page.expect_download():
        page.locator(SEND).first.click()


def open_menu(page: Page) -> None:
    page.locator(".user-menu > summary").click()


# --- the empty portal -------------------------------------------------------------------------------------------------
def empty_visits() -> list[Visit]:
    views = [
        "staff:batch-list", "staff:batch-add", "staff:usage-log", "staff:card-find", "staff:cards-disable",
        "staff:audit-trail", "staff:line-list", "staff:system-list", "staff-orders:list", "staff-orders:service-list",
        "staff-orders:member-list", "staff-orders:member-invite", "staff-orders:dashboard", "staff-orders:leak-report",
        "staff-orders:provisioner-list", "staff-orders:redeem", "staff-orders:machine-list",
    ]  # fmt: skip
    return [visit(view, state="empty") for view in views]


# --- the furnished portal ---------------------------------------------------------------------------------------------
@dataclass
class World:
    line: Line
    batches: dict[str, Batch]
    codes: dict[str, list[str]]
    orders: dict[str, Order]
    services: dict[str, Service]
    member: User
    shut_out: User


def furnish(actor: User) -> World:
    with muted():
        line = LineFactory.create(name="香港 CN2", windows_monthly_price=Decimal(30))
        ImageFactory.create(line=line)
        ImageFactory.create(line=line, operating_system__windows=True, active=False)
        ServerModelFactory.create(line=line)
        LineFactory.create(
            name="洛杉矶 GIA", region="美国", active=False, provider="not-configured", offers_bare_metal=False
        )
        member = UserFactory.create(username="lilei", external_id="2305", first_name="李雷", balance="2000")
        shut_out = UserFactory.create(username="zhaolei")
        batches, found = _batches(line, actor)
        orders = _orders(batches["normal"], found["normal"], member, actor)
        services = _services(batches["hosts"], found["hosts"], member)
        _leaks(batches, found)
        _machines(orders["provisioning"], orders["cancelled"])
        chain.seal_new_events(everything=True)
        chain.check_some()
        member_actions.top_up(
            member=member, amount=Decimal(500), reason="线下转账", actor=actor, token=batches["normal"].request_token
        )
        member_actions.disable_member(member=shut_out, reason="尝试猜测卡号", actor=actor)
        member_actions.invite_member(actor=actor, note="王芳")
    return World(line, batches, found, orders, services, member, shut_out)


def _machines(order: Order, earlier: Order) -> None:
    ServerModelFactory.create(line__name="香港裸金属", line__provider="metal", name="R640")
    MachineFactory.create_batch(3, server_model="R640", note="3 号机柜")
    MachineFactory.create(state=MachineState.CLEANING, last_order=earlier)
    why = "SN0007: its controller refused the request (status 404)."
    MachineFactory.create(state=MachineState.OUT, reason=why)
    MachineFactory.create(state=MachineState.ASSIGNED, order=order, assigned_at=timezone.now())


def _batches(line: Line, actor: User) -> tuple[dict[str, Batch], dict[str, list[str]]]:
    batches: dict[str, Batch] = {}
    found: dict[str, list[str]] = {}

    def add(key: str, **options: Any) -> Batch:
        batches[key], found[key] = make_batch(
            **({"line": line, "name": NAME, "created_by": actor, "reference_price": Decimal("2088.00")} | options)
        )
        return batches[key]

    for _each in range(12):  # more than a page of them
        add("earlier", quantity=1, name="云服务器-香港")
    expired = add("expired", product_type=ProductType.BARE_METAL)
    Batch.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(days=3))
    add("used_up", quantity=1, product_type=ProductType.VIRTUAL_HOST)
    place_order(code=found["used_up"][0], member=UserFactory.create(username="hanmei"))
    actions.disable_batch(batch=add("disabled", quantity=2), actor=actor, reason="泄露")
    normal = add("normal", quantity=60, windows_policy=WindowsPolicy.MEMBER_PAYS, note="双十二活动，第二批")
    Batch.objects.filter(pk=normal.pk).update(validity_kind="period")
    actions.disable_card(card=normal.cards.get(serial=51), actor=actor, reason="客户丢失")
    replacement.replace_card(card=normal.cards.get(serial=52), actor=actor, reason="客户丢失")
    add("hosts", quantity=8, product_type=ProductType.VIRTUAL_HOST, name="虚拟主机-香港 10G")
    add("metal", quantity=2, product_type=ProductType.BARE_METAL, name="裸金属-香港 E5", spec={"cpu": "2 x E5-2680 v4"})

    def unmade(key: str, quantity: int) -> None:
        batches[key] = actions.create_batch(
            product_type=ProductType.CLOUD_SERVER, line=line, spec=SPECS[ProductType.CLOUD_SERVER], name=NAME,
            term_months=12, quantity=quantity, validity=actions.Validity.months(12), windows_policy="not_offered",
            created_by=actor if key != "waiting" else UserFactory.create(staff=True),
        )  # fmt: skip

    unmade("generating", 50_000)
    generation.fill_chunk(batches["generating"].pk)
    unmade("cancelled", 10)
    Batch.objects.filter(pk=batches["cancelled"].pk).update(status=BatchStatus.CANCELLED)
    settings.BATCH_APPROVAL_QUANTITY = 5
    unmade("waiting", 300)
    settings.BATCH_APPROVAL_QUANTITY = 0
    return batches, found


def _orders(batch: Batch, found: list[str], member: User, actor: User) -> dict[str, Order]:
    windows = Image.objects.get(line=batch.line, operating_system__family="windows")
    Image.objects.filter(pk=windows.pk).update(active=True)
    linux = Image.objects.get(line=batch.line, operating_system__family="linux")
    orders: dict[str, Order] = {}
    for number, key in enumerate(("pending", "provisioning", "active", "attention", "failed", "cancelled", "closed")):
        image = windows if key in ("failed", "attention") else linux
        orders[key] = place_order(code=found[number], member=member, image_id=image.pk)
        ProvisioningAttempt.objects.create(
            order=orders[key], fence=1, outcome="transient", error="503 no capacity left"
        )
    put_into(orders["provisioning"], OrderState.PROVISIONING, lease_until=timezone.now() + timedelta(hours=1))
    put_into(orders["active"], OrderState.ACTIVE)
    put_into(orders["attention"], OrderState.NEEDS_ATTENTION, last_error="no answer within the time for opening")
    for key in ("failed", "cancelled", "closed"):
        put_into(orders[key], OrderState.FAILED, last_error='quota exceeded for "cores": 40 of 40 in use')
    order_actions.cancel_order(order=orders["cancelled"], actor=actor, note="客户改用其他产品")
    order_actions.resolve_order(order=orders["closed"], actor=actor, note="线下退款", external_id="", refund=False)
    return orders


def _services(batch: Batch, found: list[str], member: User) -> dict[str, Service]:
    services: dict[str, Service] = {}
    for code, key in zip(found, ("active", "suspended", "terminated", "stuck", "drifting", "changing"), strict=False):
        order = put_into(place_order(code=code, member=member), OrderState.ACTIVE)
        services[key] = Service.objects.get(order=order)

    def put(key: str, **fields: Any) -> None:
        Service.objects.filter(pk=services[key].pk).update(**fields)

    now = timezone.now()
    put("active", facts={"traffic_gb": 3, "host": "web-3", "disk_gb": 1}, seen_state="active", seen_at=now)
    put("suspended", state="suspended", wanted="suspended")
    put("terminated", state="terminated", wanted="terminated")
    put("stuck", wanted="suspended", needs_attention=True, last_error="403 not allowed on this node")
    put("drifting", seen_state="suspended", seen_at=now)
    put("changing", wanted="suspended", next_attempt_at=now + timedelta(hours=1))
    DomainChange.objects.create(
        order=services["active"].order, domain="shop.example.com", next_attempt_at=None, error="host name in use"
    )
    return services


def _leaks(batches: dict[str, Batch], found: dict[str, list[str]]) -> None:
    mallory = UserFactory.create(username="mallory")
    now = timezone.now()
    RefusedTry.objects.create(hour=now, member=mallory, address="192.0.2.7", outcome=TryOutcome.UNKNOWN, tries=48)
    for key, serial in (("disabled", 1), ("expired", 2), ("used_up", 1)):
        attempts.note_refusal(member=mallory, address="2001:db8::7", card=batches[key].cards.get(serial=serial))
    for serial in range(20, 26):
        place_order(code=found["normal"][serial], member=mallory, image_id=Image.objects.filter(active=True)[0].pk)


def visits(world: World) -> Iterator[Visit]:
    yield from _card_visits(world)
    yield from _catalogue_visits(world)
    yield from _order_visits(world)
    yield from _machine_visits()
    yield from _member_visits(world)
    yield from _other_visits()
    yield from _deeds(world)


def _card_visits(world: World) -> Iterator[Visit]:
    normal = world.batches["normal"].pk
    used = Card.objects.filter(batch=normal, status="used")[0].serial
    yield visit("staff:batch-list")
    yield visit(
        "staff:batch-list",
        state="second page, all open",
        then=one_after_another(press("[rel=next]"), open_everything, open_menu),
    )
    yield visit("staff:batch-list", state="nothing found", q="nothing")
    yield visit("staff:batch-list", state="filtered", status="expired", validity="over")
    yield visit("staff:usage-log")
    yield visit("staff:usage-log", state="nothing found", q="nothing")
    for key, batch in world.batches.items():
        yield visit("staff:batch-detail", batch.pk, state=key)
    yield visit("staff:batch-detail", normal, state="nothing found", serial=9999)
    yield visit("staff:batch-detail", normal, state="used card", serial=used)
    yield visit("staff:batch-detail", normal, state="disabled card", serial=51)
    yield visit("staff:batch-detail", normal, state="replaced card", serial=52)
    yield visit("staff:card-find", state="error", then=press(SEND))
    yield visit("staff:card-find", state="found", then=fill(q=f"{normal}/{used}"))
    yield visit("staff:card-find", state="found many", then=fill(q="lilei"))
    yield visit("staff:card-find", state="not found", then=fill(q="17"))
    yield visit("staff:batch-add")
    for product_type in ProductType.values:
        yield visit("staff:batch-add-type", product_type, state=product_type)
        yield visit("staff:batch-add-type", product_type, state=f"{product_type}, errors", then=fill(quantity="0"))
    yield visit("staff:batch-add-type", "cloud_server", state="like another", like=normal)
    yield visit("staff:batch-add-cards", normal)
    yield visit("staff:batch-add-cards", normal, state="errors", then=press(SEND))
    yield visit("staff:batch-extend", normal)
    yield visit("staff:batch-extend", normal, state="errors", then=press(SEND))
    yield visit("staff:batch-approve", world.batches["waiting"].pk)
    yield visit("staff:batch-approve", world.batches["waiting"].pk, state="errors", then=fill(password="wrong"))
    yield visit("staff:batch-cancel", world.batches["generating"].pk)
    yield visit("staff:batch-cancel", world.batches["waiting"].pk, state="waiting")
    yield visit("staff:batch-download", normal)
    yield visit("staff:batch-download", normal, state="errors", then=fill(serials="9-1"))
    yield visit("staff:batch-download", normal, state="one card to print", serials=3, file_format="pdf", layout="one")
    yield visit("staff:batch-download", world.batches["generating"].pk, state="generating")
    yield visit("staff:batch-disable", normal)
    yield visit("staff:batch-enable", world.batches["disabled"].pk)
    yield visit("staff:card-disable", normal, 40)
    yield visit("staff:card-disable", normal, used, state="used")
    yield visit("staff:card-enable", normal, 51)
    yield visit("staff:card-enable", normal, used, state="used")
    yield visit("staff:card-replace", normal, 41)
    yield visit("staff:card-replace", normal, 41, state="errors", then=press(SEND))
    yield visit("staff:card-reveal", normal, 42)
    yield visit("staff:card-reveal", normal, 42, state="errors", then=press(SEND))
    yield visit("staff:card-reveal", normal, used, state="used")
    yield visit("staff:cards-disable")
    yield visit("staff:cards-disable", state="errors", then=press(SEND))
    listed = "\n".join([*world.codes["normal"][43:45], world.codes["normal"][0], "no code", world.codes["normal"][43]])
    yield visit("staff:cards-disable", state="asks", then=fill(codes=listed))
    yield visit("staff:cards-disable", state="nothing to disable", then=fill(codes="no code"))
    yield Visit(
        "staff:selection-disable",
        reverse("staff:batch-detail", args=[normal]) + "?status=unused",
        "asks",
        tick_and_send,
    )


def _catalogue_visits(world: World) -> Iterator[Visit]:
    line = world.line.pk
    yield visit("staff:line-list")
    yield visit("staff:line-detail", line)
    yield visit(
        "staff:line-detail",
        line,
        state="connection",
        then=fetch("[hx-target='#connection'] button", "#connection .alert"),
    )
    yield visit("staff:line-detail", Line.objects.get(active=False).pk, state="not configured")
    yield visit("staff:line-add")
    yield visit("staff:line-add", state="errors", then=press(SEND))
    yield visit("staff:line-edit", line)
    yield visit("staff:image-add", line, state="errors", then=press(SEND))
    yield visit("staff:image-edit", Image.objects.all()[0].pk)
    yield visit("staff:server-model-add", line, state="errors", then=press(SEND))
    yield visit("staff:server-model-edit", ServerModel.objects.all()[0].pk)
    yield visit("staff:system-list")
    yield visit("staff:system-add", state="errors", then=press(SEND))
    yield visit("staff:system-edit", OperatingSystem.objects.all()[0].pk)
    provisioners = reverse("staff-orders:provisioner-list")
    yield visit("staff-orders:provisioner-list")
    for deed in ("check", "orphans"):
        answer = fetch(f"main form[action$='{deed}/'] button", "#connection > *")
        yield Visit(f"staff-orders:provisioner-{deed}", provisioners, then=answer)


def _machine_visits() -> Iterator[Visit]:
    yield visit("staff-orders:machine-list")
    yield visit("staff-orders:machine-list", state="one model", server_model="R640")
    yield visit("staff-orders:machine-list", state="nothing found", q="nothing")
    yield visit("staff-orders:machine-add")
    yield visit("staff-orders:machine-add", state="errors", then=press(SEND))
    for state in MachineState.values:
        machine = Machine.objects.filter(state=state)[0].pk
        yield visit("staff-orders:machine-edit", machine, state=state)
        yield visit("staff-orders:machine-out", machine, state=state)
        yield visit("staff-orders:machine-back", machine, state=state)


def _order_visits(world: World) -> Iterator[Visit]:
    yield visit("staff-orders:list")
    yield visit("staff-orders:list", state="nothing found", q="nothing")
    yield visit("staff-orders:list", state="days the wrong way round", since="2026-11-20", until="2026-11-01")
    for key, order in world.orders.items():
        yield visit("staff-orders:detail", order.number, state=key, then=open_everything)
    yield visit("staff-orders:detail", world.services["active"].order.number, state="domain not set")
    for view in ("cancel", "settle"):
        for key in ("failed", "attention"):
            yield visit(f"staff-orders:{view}", world.orders[key].number, state=key)
    yield visit("staff-orders:settle", world.orders["failed"].number, state="errors", then=press(SEND))
    yield visit("staff-orders:redeem")
    yield visit("staff-orders:redeem", state="errors", then=fill(member="lilei", note="x", code=codes.make(1)[0]))
    behalf = fill(member="lilei", note="电话委托", code=world.codes["normal"][46])
    yield visit("staff-orders:redeem", state="asks", then=behalf)
    yield visit("staff-orders:service-list")
    yield visit("staff-orders:service-list", state="needs a person", attention="on")
    yield visit("staff-orders:service-list", state="nothing found", q="nothing")
    for key, service in world.services.items():
        yield visit("staff-orders:service", service.order.number, state=key)
    number = world.services["active"].order.number
    for view in ("suspend", "extend", "terminate"):
        yield visit(f"staff-orders:service-{view}", number)
        yield visit(f"staff-orders:service-{view}", number, state="errors", then=press(SEND))
    yield visit("staff-orders:service-resume", world.services["suspended"].order.number)
    yield visit("staff-orders:service-settle", world.services["stuck"].order.number)


def _member_visits(world: World) -> Iterator[Visit]:
    yield visit("staff-orders:member-list")
    yield visit("staff-orders:member-list", state="nothing found", q="nothing")
    yield visit("staff-orders:member", world.member.pk)
    yield visit("staff-orders:member", world.shut_out.pk, state="disabled")
    yield visit("staff-orders:member-top-up", world.member.pk)
    yield visit("staff-orders:member-top-up", world.member.pk, state="errors", then=fill(amount="-1", password="wrong"))
    yield visit("staff-orders:member-disable", world.member.pk)
    yield visit("staff-orders:member-disable", world.member.pk, state="errors", then=press(SEND))
    yield visit("staff-orders:member-enable", world.shut_out.pk)
    yield visit(
        "staff-orders:member-correct", world.member.pk, world.member.ledger.filter(kind="top_up").latest("pk").pk
    )
    yield visit(
        "staff-orders:member-correct",
        world.member.pk,
        world.member.ledger.filter(kind="top_up").latest("pk").pk,
        state="errors",
        then=press(SEND),
    )
    yield visit("staff-orders:member-invite")
    yield visit("staff-orders:member-invite", state="link", then=fill(note="李四"))


def _other_visits() -> Iterator[Visit]:
    yield visit("staff-orders:dashboard")
    yield visit("staff-orders:dashboard", state="all open", then=open_everything)
    yield visit("staff-orders:dashboard", state="narrowed", type="virtual_host")
    yield visit("staff-orders:leak-report")
    yield visit("staff-orders:leak-report", state="one address", address="192.0.2.7")
    yield visit("staff:audit-trail")
    yield visit("staff:audit-trail", state="error", serial=3)
    yield visit("staff:audit-trail", state="nothing found", actor="nobody")
    yield visit("staff:audit-event", AuditEvent.objects.earliest("pk").pk, state="linked")
    yield visit("staff:audit-event", AuditEvent.objects.latest("pk").pk, state="not linked yet")
    for name in ACCOUNT:
        yield visit(name)
    yield Visit("a page that is not there", "/staff/nothing/")
    yield visit("admin:index")
    for model, registered in admin.site._registry.items():
        about = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield visit(f"{about}_changelist")
        if row := registered.model._default_manager.order_by("pk").first():
            yield visit(f"{about}_change", row.pk)


def _deeds(world: World) -> Iterator[Visit]:
    """What changes something comes last."""
    normal = world.batches["normal"].pk
    yield visit("staff:batch-download", normal, state="sent", then=take_file)
    yield visit("staff:batch-detail", normal, state="downloaded")
    yield visit("staff:card-disable", normal, 54, state="done", then=fill(reason="泄露"))
    yield visit("staff:card-enable", normal, 54, state="done", then=fill(reason="误操作"))
    yield visit("staff:card-reveal", normal, 54, state="done", then=fill(password=PASSWORD, reason="客户来电"))
    yield visit("staff:card-replace", normal, 55, state="done", then=fill(password=PASSWORD, reason="客户丢失"))
    two = one_after_another(fill(codes="\n".join(world.codes["normal"][55:57])), press("main form[action] .btn-danger"))
    yield visit("staff:cards-disable", state="done", then=two)
    yield visit("staff:batch-disable", normal, state="done", then=press(SEND))
    yield visit("staff:batch-enable", normal, state="done", then=press(SEND))
    yield visit("staff:system-add", state="done", then=fill(name="FreeBSD", version="14"))
