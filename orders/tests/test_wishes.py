"""Host name, domain, SSH key and password of the member's own: checked, handed to the provider, kept nowhere open."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.db import connection
from django.test import Client

from accounts.models import User
from cards import vault
from cards.choices import ProductType
from cards.tests.factories import ImageFactory, LineFactory, make_batch
from orders import fulfilment, redemption
from orders.actions import cancel_order
from orders.checks import check_reserved_domains
from orders.choices import OrderState
from orders.exceptions import BadDomain, BadHostname, BadPassword, BadSSHKey, DomainTaken, SeveralRefused
from orders.models import Order
from orders.provisioning.simulator import Simulator
from orders.wishes import (
    Wishes,
    checked,
    checked_domain,
    checked_hostname,
    checked_password,
    checked_ssh_key,
    shown_domain,
)

from .cast import alice, assert_nothing_spent, bob, client_of, put_into
from .simulated import plane

__all__ = ["alice", "bob", "plane"]
PASSWORD = "Correct-horse-7-battery"
SERVER, SITE = ProductType.CLOUD_SERVER, ProductType.VIRTUAL_HOST


def public(key: object) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()  # type: ignore[attr-defined]


ED25519 = public(ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def server(db: None) -> tuple[str, int]:
    """(code, image)."""
    line = LineFactory.create()
    image = ImageFactory.create(line=line)
    _batch, (code,) = make_batch(line=line, quantity=1)
    return code, image.pk


@pytest.fixture
def sites(db: None) -> list[str]:
    return make_batch(product_type=SITE, quantity=2)[1]


# --- The rules -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [lambda: ED25519, lambda: public(ec.generate_private_key(ec.SECP256R1()))])
def test_a_key_in_one_form(make: object) -> None:
    key = make()  # type: ignore[operator]
    assert checked_ssh_key(f"  {key}   li lei@my; laptop \n") == f"{key} li-lei@my-laptop"
    assert checked_ssh_key(key) == key


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hello", "form"),
        ("ssh-ed25519", "form"),
        ("ssh-ed25519 AAAA", "form"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "form"),
        (f"{ED25519}\n{ED25519}", "form"),
        (f'command="/bin/true" {ED25519}', "form"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "form"),
        (f"{ED25519} {'x' * 5000}", "form"),
        ("ssh-ed25519 \x00", "form"),
        (public(rsa.generate_private_key(65537, 1024)), "weak"),  # noqa: S505
        ("ssh-dss AAAA", "weak"),
        (
            ed25519.Ed25519PrivateKey.generate()
            .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            .decode(),
            "private",
        ),
    ],
    ids=[str(number) for number in range(12)],
)
def test_what_is_no_fit_key(text: str, kind: str) -> None:
    with pytest.raises(BadSSHKey) as refused:
        checked_ssh_key(text)
    assert refused.value.kind == kind
    assert text not in repr(refused.value)


@pytest.mark.parametrize("text", [PASSWORD, "aA1" * 4, "Zz9!#$%*+,-./:=?@^_~"])
def test_a_password_that_will_do(text: str) -> None:
    assert checked_password(text, "web-1") == text


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Short-1", ""),
        ("A1" + "a" * 63, ""),
        ("alllowercase-1", ""),
        ("NoDigitsInHere", ""),
        ("Correct horse 7", ""),
        ("Correct'horse7", ""),
        ("Mein-Paßwort-7", ""),
        ("Correct-horse-7\n", ""),
        ("Administrator-7", ""),
        ("Shop-Window-12345", "shop-window"),
    ],
)
def test_a_password_that_will_not(text: str, host: str) -> None:
    with pytest.raises(BadPassword):
        checked_password(text, host)


RESERVED = [
    "cards.company.com.cn",  # SITE_URL
    "Login.Cards.Company.com.cn",
    "company.com.cn",
    "com.cn",
    "staff.company.net",  # ALLOWED_HOSTS
    "a.staff.company.net",
    "company.net",
    "company.org",
    "www.company.org",
    "x.hosted.example",  # HOSTING_DOMAIN
    "bank.example.com",  # RESERVED_DOMAINS
    "www.bank.example.com",
    "提货.中国",
    "www.xn--o0u333g.xn--fiqs8s",
]


@pytest.fixture
def company(settings: Any) -> None:
    settings.SITE_URL = "https://cards.company.com.cn:8443"
    settings.ALLOWED_HOSTS = ["staff.company.net", ".Company.org", "[::1]", "127.0.0.1", "*"]
    settings.RESERVED_DOMAINS = ["Bank.example.com.", " 提货.中国"]


@pytest.mark.parametrize("text", RESERVED)
def test_reserved_domains_are_nobodys_site(company: None, text: str) -> None:
    with pytest.raises(BadDomain):
        checked_domain(text)


@pytest.mark.parametrize(
    "text",
    ["cards.company.com.cn", "www.Staff.company.net.", "mail.company.org", "x.hosted.example", "a.bank.example.com"],
)
def test_no_server_is_called_like_one_of_ours(company: None, text: str) -> None:
    """It would greet other mail servers by that name, and stand under it in every log."""
    with pytest.raises(BadHostname):
        checked_hostname(text)


@pytest.mark.parametrize("text", ["company", "cn", "web-1", "shop.company.com.cn", "mycompany.org", "example.com"])
def test_other_names_of_servers_are_free(company: None, text: str) -> None:
    assert checked_hostname(text) == text


@pytest.mark.parametrize("text", ["a.localhost", "db.internal", "nas.local", "1.0x1", "1.0x", "127.1", "x.onion"])
def test_what_can_be_nobodys_domain(text: str) -> None:
    with pytest.raises(BadDomain):
        checked_domain(text)


@pytest.mark.parametrize(
    "text",
    [
        "shop.company.com.cn",
        "mycompany.com.cn",
        "mystaff.company.net",
        "example.com",
        "notbank.example.com",
        "中国.com",
    ],
)
def test_domains_beside_them_are_free(company: None, text: str) -> None:
    assert checked_domain(text)


def test_a_reserved_domain_that_is_none_is_told_at_start(settings: Any) -> None:
    assert check_reserved_domains(None) == []
    settings.RESERVED_DOMAINS = ["example.com", "-"]
    assert [error.id for error in check_reserved_domains(None)] == ["orders.E004"]


def test_domains_in_one_form() -> None:
    assert checked_domain(" WWW.Example.com. ") == "www.example.com"
    assert checked_domain("提货。中国") == checked_domain("提货.中国") == "xn--o0u333g.xn--fiqs8s"
    assert checked_domain("") == ""
    assert [shown_domain(each) for each in ("xn--o0u333g.xn--fiqs8s", "a.example", "xn--zz-.example", "")] == [
        "提货.中国",
        "a.example",
        "xn--zz-.example",
        "",
    ]


@pytest.mark.parametrize(
    "text", ["localhost", "192.0.2.1", "https://example.com", "a_b.com", "-a.com", "a..com", "x." * 130 + "com",
             "other.hosted.example", "\x00.com", "\ud800.com", "*.example.com"],
)  # fmt: skip
def test_what_is_no_domain_of_his_own(text: str) -> None:
    with pytest.raises(BadDomain):
        checked_domain(text)


def test_each_kind_of_product_keeps_its_own_wishes() -> None:
    every = Wishes(hostname="Web-1", domain="a.example", ssh_key=ED25519, password=PASSWORD)
    assert checked(every, SERVER) == Wishes(hostname="web-1", ssh_key=ED25519, password=PASSWORD)
    assert checked(every, SITE) == Wishes(domain="a.example")
    assert PASSWORD not in repr(every)


# --- The way to the provider ---------------------------------------------------------------------------------------
def test_key_and_password_reach_the_provider_and_are_then_forgotten(
    alice: User, server: tuple[str, int], plane: Simulator
) -> None:
    code, image = server
    wishes = Wishes(hostname="web-1", ssh_key=ED25519, password=PASSWORD)
    order = redemption.redeem(code=code, member=alice, image_id=image, wishes=wishes)
    for secret in (PASSWORD, ED25519):
        assert secret.encode() not in _everything_stored()
    request = fulfilment.request_for(order)
    assert (request.hostname, request.ssh_key, request.password) == ("web-1", ED25519, PASSWORD)
    fulfilment.run(order.pk)
    order.refresh_from_db()
    assert (order.state, order.login) == (OrderState.ACTIVE, None)
    assert fulfilment.access_of(order.service)["password"] == PASSWORD


def test_without_wishes_everything_is_chosen(alice: User, server: tuple[str, int]) -> None:
    code, image = server
    order = redemption.redeem(code=code, member=alice, image_id=image)
    request = fulfilment.request_for(order)
    assert (order.login, order.domain, request.ssh_key) == (None, "", "")
    assert request.hostname == f"srv-{order.number.lower()}"
    assert request.password == vault.initial_password(order.key)
    assert checked_password(request.password) == request.password


def test_a_cancelled_order_forgets_them_too(alice: User, server: tuple[str, int], plane: Simulator) -> None:
    code, image = server
    order = redemption.redeem(code=code, member=alice, image_id=image, wishes=Wishes(password=PASSWORD))
    put_into(order, OrderState.FAILED)
    cancel_order(order=order, actor=None)
    assert Order.objects.get().login is None


def test_an_access_key_that_is_missing_delays_the_order(
    alice: User, server: tuple[str, int], plane: Simulator, settings: object
) -> None:
    code, image = server
    order = redemption.redeem(code=code, member=alice, image_id=image, wishes=Wishes(password=PASSWORD))
    settings.ACCESS_KEYS = "other:" + "A" * 43 + "="  # type: ignore[attr-defined]
    assert fulfilment.run(order.pk)
    order.refresh_from_db()
    assert order.state == OrderState.PROVISIONING
    assert "is missing" in order.last_error
    assert plane.resources() == []


def test_windows_takes_no_key(alice: User, server: tuple[str, int]) -> None:
    line = LineFactory.create()
    windows = ImageFactory.create(line=line, operating_system__windows=True)
    batch, (code,) = make_batch(line=line, quantity=1, windows_policy="included")
    with pytest.raises(BadSSHKey):
        redemption.redeem(code=code, member=alice, image_id=windows.pk, wishes=Wishes(ssh_key=ED25519))
    assert_nothing_spent(batch.cards.get())


def test_a_site_has_an_address_of_ours_and_answers_under_its_own_domain(alice: User, sites: list[str]) -> None:
    own = redemption.redeem(code=sites[0], member=alice, wishes=Wishes(domain="Shop.Example.com"))
    request = fulfilment.request_for(own)
    assert (request.domain, request.hostname) == ("shop.example.com", f"{own.number.lower()}.hosted.example")
    ours = redemption.redeem(code=sites[1], member=alice)
    request = fulfilment.request_for(ours)
    assert request.domain == request.hostname == f"{ours.number.lower()}.hosted.example"


def test_two_sites_cannot_answer_under_one_domain(alice: User, bob: User, sites: list[str], plane: Simulator) -> None:
    first = redemption.redeem(code=sites[0], member=alice, wishes=Wishes(domain="shop.example.com"))
    with pytest.raises(DomainTaken):
        redemption.redeem(code=sites[1], member=bob, wishes=Wishes(domain="shop.example.com"))
    assert Order.objects.count() == 1
    put_into(first, OrderState.FAILED)
    cancel_order(order=first, actor=None)
    again = redemption.redeem(code=sites[1], member=bob, wishes=Wishes(domain="shop.example.com"))
    assert again.domain == "shop.example.com"


# --- The page ----------------------------------------------------------------------------------------------------
def confirm(client: Client, code: str, **data: object) -> str:
    return client.post("/cards/redeem/", {"step": "confirm", "code": code} | data).content.decode()


def test_the_page_asks_a_server_and_a_site_each_for_their_own(
    alice: User, server: tuple[str, int], sites: list[str]
) -> None:
    client = client_of(alice)
    of_server = client.post("/cards/redeem/", {"step": "check", "code": server[0]}).content.decode()
    of_site = client.post("/cards/redeem/", {"step": "check", "code": sites[0]}).content.decode()
    for name in ("hostname", "ssh_key", "password"):
        assert f'name="{name}"' in of_server
        assert f'name="{name}"' not in of_site
    assert 'name="domain"' in of_site
    assert 'name="domain"' not in of_server


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize(
    ("name", "value", "english", "chinese"),
    [
        ("ssh_key", "-----BEGIN OPENSSH PRIVATE KEY-----", "private half", "这是私钥"),
        ("ssh_key", "nonsense", "no SSH public key", "不是有效的 SSH 公钥"),
        ("ssh_key", "ssh-dss AAAA", "too weak", "强度不足"),
        ("password", "too-Short-1", "12 to 64 characters", "12 至 64 个字符"),
        ("hostname", "-web", "letters, digits and hyphens", "主机名"),
    ],
)
def test_a_refused_wish_is_said_beside_its_field_and_spends_nothing(
    alice: User, server: tuple[str, int], name: str, value: str, english: str, chinese: str, language: str
) -> None:
    code, image = server
    client = client_of(alice)
    client.cookies["django_language"] = language
    page = confirm(client, code, image=image, **{name: value})
    errors = page[page.index(f'id="id_{name}_error"') :][:400]
    assert (english if language == "en" else chinese) in errors
    assert f'id="id_{name}_error"' in page
    assert '<details class="offer-more" open>' in page
    assert not (name == "password" and value in page)
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("language", "says"),
    [
        (
            "en",
            {
                "image": "one of the operating systems offered",
                "id_hostname": "letters, digits and hyphens",
                "id_ssh_key": "no SSH public key",
                "id_password": "12 to 64 characters",
            },
        ),
        (
            "zh-hans",
            {
                "image": "请选择页面提供的操作系统",
                "id_hostname": "主机名",
                "id_ssh_key": "不是有效的 SSH 公钥",
                "id_password": "12 至 64 个字符",
            },
        ),
    ],
)
def test_all_that_is_wrong_is_said_at_once_each_beside_its_field(
    alice: User, server: tuple[str, int], language: str, says: dict[str, str]
) -> None:
    client = client_of(alice)
    client.cookies["django_language"] = language
    page = confirm(client, server[0], image=0, hostname="-web", ssh_key="hello", password="short")
    assert page.count('_error"><p>') == 3
    for name, words in says.items():
        assert words in page[page.index(f'id="{name}_error"') :][:400]
    assert not Order.objects.exists()


def test_what_is_right_is_not_named_among_what_is_wrong(alice: User, server: tuple[str, int]) -> None:
    page = confirm(client_of(alice), server[0], image=server[1], hostname="web-1", ssh_key="hello", password="short")
    assert 'id="id_ssh_key_error"' in page
    assert 'id="id_password_error"' in page
    assert 'id="id_hostname_error"' not in page
    assert 'id="image_error"' not in page
    assert 'value="web-1"' in page
    with pytest.raises(SeveralRefused) as refused:
        checked(Wishes(ssh_key=ED25519, password="short", hostname="-web"), SERVER, "windows")
    assert [part.field for part in refused.value.parts()] == ["hostname", "ssh_key", "password"]
    assert "-web" not in repr(refused.value)


@pytest.mark.parametrize(("language", "says"), [("en", "no domain of your own"), ("zh-hans", "您自己的域名")])
def test_a_refused_domain_is_said_beside_its_field(alice: User, sites: list[str], language: str, says: str) -> None:
    client = client_of(alice)
    client.cookies["django_language"] = language
    page = confirm(client, sites[0], domain="x.hosted.example")
    assert says in page[page.index('id="id_domain_error"') :][:400]
    assert not Order.objects.exists()


def test_a_good_wish_is_taken_from_the_page(alice: User, server: tuple[str, int], sites: list[str]) -> None:
    client = client_of(alice)
    confirm(client, server[0], image=server[1], ssh_key=ED25519, password=PASSWORD)
    assert fulfilment.request_for(Order.objects.get()).ssh_key == ED25519
    confirm(client, sites[0], domain="shop.example.com")
    order = Order.objects.latest("pk")
    assert "shop.example.com" in client.get(f"/orders/{order.number}/").content.decode()
    assert "belongs to another site" in confirm(client, sites[1], domain="shop.example.com")


def test_names_are_checked_for_servers_too() -> None:
    with pytest.raises(BadHostname):
        checked(Wishes(hostname="a b"), SERVER)


def _everything_stored() -> bytes:
    """Every row of every table, as bytes."""
    found = b""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            for row in cursor.fetchall():
                found += b" ".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in row)
    return found
