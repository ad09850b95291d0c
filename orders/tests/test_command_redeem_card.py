from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.management.base import CommandError
from django.utils.translation import override

from accounts.actions import balance_of
from accounts.tests.commands import run, run_json, type_in
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction, CardStatus, ProductType, WindowsPolicy
from cards.codes import group
from cards.models import AuditEvent
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders.models import Order
from orders.provisioning.simulator import Simulator

from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


def test_the_code_comes_on_standard_input_and_an_order_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = make_batch()
    member = UserFactory.create()
    type_in(monkeypatch, f"{group(codes[0])}\n")
    facts = run_json("redeem_card", "--member", member.email, "--os", "debian 12", "--hostname", "web-1")
    order = Order.objects.get()
    assert (facts["number"], facts["state"], facts["os"]) == (order.number, "pending", "Debian 12")
    assert (order.member, order.hostname) == (member, "web-1")
    assert batch.cards.get(serial=1).status == CardStatus.USED


def test_wait_opens_the_product(monkeypatch: pytest.MonkeyPatch, plane: Simulator) -> None:  # noqa: F811
    _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST)
    type_in(monkeypatch, codes[0])
    facts = run_json("redeem_card", "--member", UserFactory.create().username, "--wait")
    assert facts["state"] == "active"
    assert [resource.external_id for resource in plane.resources()] == [facts["external_id"]]


@pytest.mark.parametrize(
    ("product_type", "wish"),
    [(ProductType.CLOUD_SERVER, ("--domain", "shop.example")), (ProductType.VIRTUAL_HOST, ("--hostname", "web-1"))],
)
def test_a_wish_that_the_product_cannot_fulfil_uses_no_card(
    monkeypatch: pytest.MonkeyPatch, product_type: ProductType, wish: tuple[str, str]
) -> None:
    batch, codes = make_batch(product_type=product_type)
    type_in(monkeypatch, codes[0])
    with pytest.raises(CommandError, match=f"takes no {wish[0]}; the card was not used"):
        run("redeem_card", "--member", UserFactory.create().username, *wish)
    assert batch.cards.get(serial=1).status == CardStatus.UNUSED


def test_staff_act_on_behalf_of_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, codes = make_batch()
    member, staff = UserFactory.create(), UserFactory.create(staff=True)
    image = batch.line.images.get()
    type_in(monkeypatch, codes[0])
    run("redeem_card", "--member", member.username, "--image", image.pk, "--on-behalf", staff.username)
    assert Order.objects.get().member == member
    assert AuditEvent.objects.get(action=AuditAction.REDEEM).actor == staff


def test_choices_show_what_the_card_is_for_and_use_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    line = LineFactory.create(windows_monthly_price=Decimal(30))
    image = ImageFactory.create(line=line, operating_system__windows=True)
    batch, codes = make_batch(line=line, windows_policy=WindowsPolicy.MEMBER_PAYS)
    type_in(monkeypatch, codes[0])
    facts = run_json("redeem_card", "--member", UserFactory.create().username, "--choices")
    assert facts["choices"] == {str(image.pk): "Windows Server 2022 (+360.00)"}
    assert batch.cards.get(serial=1).status == CardStatus.UNUSED
    assert not Order.objects.exists()


def test_a_refusal_uses_nothing_and_never_repeats_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    line = LineFactory.create(windows_monthly_price=Decimal(30))
    ImageFactory.create(line=line, operating_system__windows=True)
    batch, codes = make_batch(line=line, windows_policy=WindowsPolicy.MEMBER_PAYS)
    member = UserFactory.create(balance="359.99")
    type_in(monkeypatch, codes[0])
    with pytest.raises(CommandError, match=r"balance is ¥0\.01 short") as failure:
        run("redeem_card", "--member", member.username, "--os", "Windows Server 2022")
    assert codes[0] not in str(failure.value)
    assert batch.cards.get(serial=1).status == CardStatus.UNUSED
    assert balance_of(member) == Decimal("359.99")


@pytest.mark.parametrize(
    ("language", "says"), [("en", ["A host name has", "no SSH public key"]), ("zh-hans", ["主机名由", "SSH 公钥"])]
)
def test_several_bad_wishes_are_all_named_each_on_a_line(
    monkeypatch: pytest.MonkeyPatch, language: str, says: list[str]
) -> None:
    batch, codes = make_batch()
    type_in(monkeypatch, codes[0])
    member, image = UserFactory.create().username, batch.line.images.get().pk
    wishes = ["--hostname=-web", "--ssh-key=hello"]
    with override(language), pytest.raises(CommandError) as failure:
        run("redeem_card", "--member", member, "--image", image, *wishes)
    lines = str(failure.value).splitlines()
    assert [words in line for words, line in zip(says, lines, strict=True)] == [True, True]
    assert not Order.objects.exists()


def test_the_same_card_twice_fails_and_makes_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    _batch, codes = make_batch()
    member = UserFactory.create()
    for _time in range(2):
        type_in(monkeypatch, codes[0])
        if Order.objects.exists():
            with pytest.raises(CommandError, match="You have used this card already"):
                run("redeem_card", "--member", member.username, "--os", "Debian 12")
        else:
            run("redeem_card", "--member", member.username, "--os", "Debian 12")
    assert Order.objects.count() == 1


def test_a_system_that_is_not_offered_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _batch, codes = make_batch()
    type_in(monkeypatch, codes[0])
    with pytest.raises(CommandError, match="Offered: Debian 12"):
        run("redeem_card", "--member", UserFactory.create().username, "--os", "BeOS 5")
    assert not Order.objects.exists()
