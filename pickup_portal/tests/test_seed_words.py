"""The staff pages speak the feature text's own Chinese, word for word: menu, headings, columns, operations."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.tests.factories import UserFactory
from cards import actions
from cards.tests.factories import make_batch
from cards.tests.staff import table_of, use
from orders.tests.cast import place_order

pytestmark = pytest.mark.django_db

# As the feature text has them.
LIST = "ID\t批次\t业务类型\t提货卡名称\t参考价格\t提货卡数量 (已使用/全部)\t提货卡有效期\t使用状态\t操作"
USAGE = "ID\t批次\t提货卡\t会员ID\t类型\t提货卡名称\t提货时间\t操作"
MEMBERS = "提货卡\t产品类型\t提货日期\t提货订单"


@pytest.fixture
def client(db: None) -> Client:
    client = Client(headers={"accept-language": "zh-CN"})
    client.force_login(UserFactory.create(superuser=True))
    return client


def heading(page: Any) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page.text, re.S)
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1])).strip()


def crumbs(page: Any) -> list[str]:
    found = re.search(r'<div class="crumbs">(.*?)</div>', page.text, re.S)
    assert found
    return re.findall(r"<(?:span|a)[^>]*>(.*?)</", found[1])


def columns(page: Any) -> str:
    return "\t".join(re.sub(r" [↓↑]$", "", title) for title in table_of(page)[0])


def test_the_list(client: Client) -> None:
    batch, _codes = make_batch(product_type="bare_metal", quantity=2)
    page = client.get("/staff/cards/")
    assert (heading(page), crumbs(page)) == ("提货卡管理", ["后台", "财务"])
    assert columns(page) == LIST
    row = table_of(page)[1][0]
    assert (row[2], row[5], row[6], row[7], row[8]) == ("裸金属", "0/2", "1年", "正常", "详情 下载 禁用")
    for words in ("添加提货卡", "提货卡使用记录"):
        assert f">{words}<" in re.sub(r"<svg.*?</svg>", "", page.text, flags=re.S)
    actions.disable_batch(batch=batch, actor=None)
    assert table_of(client.get("/staff/cards/"))[1][0][7:] == ["已禁用", "详情 下载 启用"]


def test_adding(client: Client) -> None:
    make_batch()
    page = client.get("/staff/cards/add/")
    assert (heading(page), crumbs(page)[:3]) == ("添加提货卡", ["后台", "财务", "提货卡管理"])
    form = client.get("/staff/cards/add/cloud_server/")
    assert heading(form) == "添加提货卡：云服务器"
    for words in ("提货卡产品设置", "提货卡名称", "生成提货卡数量", "提货卡有效期", "使用时间"):
        assert words in form.text
    labels = [re.sub(r"<[^>]+>| |选填", "", label) for label in re.findall(r"<label[^>]*>(.*?)</label>", form.text)]
    assert {"提货卡名称", "生成提货卡数量"} <= set(labels)


def test_the_details(client: Client) -> None:
    batch, _codes = make_batch(quantity=2)
    use(batch, 1, UserFactory.create(external_id="2305"), "R20261123")
    page = client.get(f"/staff/cards/{batch.pk}/")
    assert heading(page).startswith("提货卡详情 ")
    assert crumbs(page) == ["后台", "财务", "提货卡管理", "详情"]
    used, unused = (row[5] for row in table_of(page)[1])
    assert used == "详情"
    assert unused.split()[0] == "禁用"


def test_the_usage_log(client: Client) -> None:
    batch, _codes = make_batch(product_type="virtual_host", quantity=1)
    use(batch, 1, UserFactory.create(external_id="2305"), "R20261123")
    page = client.get("/staff/cards/usage/")
    assert (heading(page), crumbs(page)) == ("提货卡使用记录", ["后台", "财务", "提货卡管理", "提货卡使用记录"])
    assert columns(page) == USAGE
    row = table_of(page)[1][0]
    assert (row[3], row[4], row[7]) == ("2305", "虚拟主机", "详情")


def test_the_members_list() -> None:
    member = UserFactory.create()
    _batch, (code,) = make_batch(product_type="virtual_host", quantity=1)
    place_order(code=code, member=member)
    client = Client(headers={"accept-language": "zh-CN"})
    client.force_login(member)
    page = client.get("/cards/").text
    titles = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<th\b.*?</th>", page, re.S)]
    assert "\t".join(titles) == MEMBERS
