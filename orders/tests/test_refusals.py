"""Every refusal, in both languages: what the member reads, that nothing was spent, and nobody else is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.exceptions import BalanceTooLow, TooManyAttempts
from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import codes
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders import exceptions, redemption
from orders.exceptions import RedemptionRefused
from orders.models import Order
from orders.wishes import Wishes

from .cast import alice, place_order
from .test_redemption import Shop, rows

__all__ = ["alice"]
pytestmark = pytest.mark.django_db


@dataclass
class Scene:
    """What alice is about to post, and bob, whom she must not hear of."""

    shop: Shop
    bob: User
    settings: Settings
    alice: User
    post: dict[str, Any] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    def used_by_bob(self) -> None:
        order = place_order(code=self.shop.code, member=self.bob, image_id=self.shop.debian.pk)
        self.hidden.append(order.number)

    def windows(self, agreed: str) -> None:
        self.post |= {"image": self.shop.windows.pk, "agreed": agreed}

    def out_of_tries(self) -> None:
        self.settings.THROTTLE_MEMBER = 1
        signed_in(self.alice).post("/cards/redeem/", {"step": "check", "code": codes.make(1)[0]})

    def site_of_bob(self) -> None:
        _batch, (his, hers) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=2)
        redemption.redeem(code=his, member=self.bob, wishes=Wishes(domain="www.taken.example"))
        self.post = {"code": hers, "domain": "www.taken.example"}

    def site(self, **post: str) -> None:
        _batch, (code,) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=1)
        self.post = {"code": code} | post

    def no_keys(self) -> None:
        self.settings.ACCESS_KEYS = ""
        self.post["password"] = "Quite-Secret-2026"


def signed_in(user: User, language: str = "en") -> Client:
    client = Client(headers={"accept-language": language})
    client.force_login(user)
    return client


def posts(**fields: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.post.update(fields)


Case = tuple[type[Exception], Callable[[Scene], Any], str, str]
CASES: dict[str, Case] = {
    "empty": (exceptions.MistypedCode, posts(code=" - "), "Please enter the code of your card.", "请输入提货卡账号。"),
    "length": (exceptions.MistypedCode, posts(code="ABC"), "has 25 characters in five groups", "共 25 位，分为五组"),
    "symbol": (exceptions.MistypedCode, posts(code="0" * 7 + "U" * 18), "Group 2 holds a character", "第 2 组含有"),
    "check": (exceptions.MistypedCode, posts(code="0" * 24 + "1"), "has a typing mistake", "账号输入有误"),
    "unknown": (exceptions.UnknownCode, posts(code="0" * 25), "We do not know this code.", "找不到此提货卡账号。"),
    "used": (exceptions.CardAlreadyUsed, Scene.used_by_bob, "This card was used on ", "此提货卡已于 20"),
    "expired": (
        exceptions.CardExpired,
        lambda s: s.shop.expire(),
        "and has expired. Please ask",
        "已过期。请联系销售方",
    ),
    "disabled": (exceptions.CardDisabled, lambda s: s.shop.disable_card(), "disabled by the seller", "已被销售方禁用"),
    "batch": (exceptions.CardDisabled, lambda s: s.shop.disable_batch(), "disabled by the seller", "已被销售方禁用"),
    "sold out": (exceptions.SoldOut, lambda s: s.shop.close_line(), "takes no orders at the moment", "暂不接受订单"),
    "withdrawn": (
        exceptions.ImageNotOffered,
        lambda s: s.shop.retire_image(),
        "systems offered. Your card has not been used",
        "请选择页面提供的操作系统",
    ),
    "charge": (
        exceptions.ChargeNotConfirmed,
        lambda s: s.windows("0"),
        "This system costs extra",
        "该系统需另付差价。请核对下方应付金额",
    ),
    "balance": (BalanceTooLow, lambda s: s.windows("360"), "Your balance is ¥360.00 short", "余额不足，还差 ¥360.00"),
    "host name": (
        exceptions.BadHostname,
        posts(hostname="-web"),
        "A host name has letters",
        "主机名由字母、数字和连字符组成",
    ),
    "domain": (
        exceptions.BadDomain,
        lambda s: s.site(domain="http://x"),
        "This is no domain of your own",
        "请填写您自己的域名",
    ),
    "taken": (exceptions.DomainTaken, Scene.site_of_bob, "belongs to another site", "已被本平台的其他站点使用"),
    "ssh key": (exceptions.BadSSHKey, posts(ssh_key="hello"), "This is no SSH public key", "这不是有效的 SSH 公钥"),
    "private key": (
        exceptions.BadSSHKey,
        posts(ssh_key="-----BEGIN OPENSSH PRIVATE KEY-----"),
        "private half of a key",
        "这是私钥",
    ),
    "password": (
        exceptions.BadPassword,
        posts(password="short"),
        "A server&#x27;s password has 12 to 64",
        "服务器密码须为 12 至 64 个字符",
    ),
    "no keys": (
        exceptions.NoOwnLogin,
        Scene.no_keys,
        "login of your own cannot be kept",
        "目前无法保存自定义的登录信息",
    ),
    "too many": (
        TooManyAttempts,
        Scene.out_of_tries,
        "Too many attempts. Please wait 1 minute",
        "尝试次数过多，请等待 1 分钟",
    ),
}


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("name", CASES)
def test_a_refusal(alice: User, settings: Settings, name: str, language: str) -> None:
    kind, prepare, english, chinese = CASES[name]
    shop = Shop()
    bob = UserFactory.create(username="bob-the-other", email="bob@other.example", external_id="M-777")
    scene = Scene(shop, bob, settings, alice, {"code": shop.code, "image": shop.debian.pk, "agreed": "0"})
    prepare(scene)
    before = rows()
    raised: list[Exception] = []
    with pytest.MonkeyPatch.context() as patch:
        redeem = redemption.redeem

        def spy(**asked: Any) -> Order:
            try:
                return redeem(**asked)
            except Exception as error:
                raised.append(error)
                raise

        patch.setattr(redemption, "redeem", spy)
        response = signed_in(alice, language).post("/cards/redeem/", {"step": "confirm"} | scene.post)
    page = response.content.decode()
    assert [type(error) for error in raised] == [kind]
    assert response.status_code == (429 if kind is TooManyAttempts else 200)
    assert (english if language == "en" else chinese) in page
    assert 'role="alert"' in page or "is-invalid" in page
    assert rows() == before
    for secret in (bob.username, bob.email, bob.external_id, *scene.hidden):
        assert str(secret) not in page


@pytest.mark.parametrize(
    ("language", "words"), [("en", "You have used this card already"), ("zh-hans", "您已使用过此提货卡")]
)
def test_his_own_card_again_is_no_refusal_but_his_order(alice: User, language: str, words: str) -> None:
    shop = Shop()
    order = place_order(code=shop.code, member=alice, image_id=shop.debian.pk)
    before = rows()
    client = signed_in(alice, language)
    response = client.post("/cards/redeem/", {"step": "confirm", "code": shop.code, "image": shop.debian.pk})
    assert (response.status_code, response["Location"]) == (303, f"/orders/{order.number}/")
    assert words in client.get(response["Location"]).content.decode()
    assert rows() == before


def test_every_refusal_there_is_has_its_case() -> None:
    kinds = {kind for kind, *_rest in CASES.values()} | {exceptions.AlreadyYours, exceptions.SeveralRefused}
    assert kinds >= {*RedemptionRefused.__subclasses__(), TooManyAttempts, BalanceTooLow}
    assert kinds <= {kind for base in redemption.REFUSALS for kind in (base, *base.__subclasses__())}
