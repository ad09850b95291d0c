"""What the demo is made of: the feature text's own batches and uses, on lines and systems that could be real."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from cards.choices import OSFamily, ProductType, WindowsPolicy

STAFF_LOGIN, STAFF_PASSWORD = "staff", "pickup-staff"
MEMBER_LOGIN, MEMBER_PASSWORD = "member", "pickup-member"
PROVIDER = "simulator"
PRICE = Decimal("1000.00")  # what every batch of the feature text costs

CLOUD, HOST, METAL = ProductType.CLOUD_SERVER, ProductType.VIRTUAL_HOST, ProductType.BARE_METAL

SPECS: dict[str, dict[str, Any]] = {
    CLOUD: {
        "cpu_cores": 2,
        "memory_gb": 4,
        "system_disk_gb": 40,
        "data_disk_gb": 0,
        "bandwidth_mbps": 2,
        "ip_count": 1,
    },
    HOST: {"web_space_gb": 10, "databases": 2, "sites": 3, "traffic_gb": 200},
    METAL: {
        "server_model": "DL360-E5",
        "cpu": "2 × Intel Xeon E5-2680 v4",
        "memory_gb": 64,
        "disks": "2 × 960 GB SSD",
        "bandwidth_mbps": 20,
        "ip_count": 1,
    },
}


@dataclass(frozen=True)
class DemoLine:
    name: str
    region: str
    offers: tuple[ProductType, ...]
    windows: Decimal | None  # None: Windows costs what Linux costs
    bandwidth: Decimal
    models: dict[str, Decimal] = field(default_factory=dict)


LINES = [
    DemoLine(
        "香港 CN2",
        "香港",
        (CLOUD, HOST, METAL),
        Decimal(30),
        Decimal(20),
        {"DL360-E5": Decimal(800), "R640-Gold": Decimal(1500)},
    ),
    DemoLine("香港 BGP", "香港", (CLOUD, HOST), None, Decimal(12)),
    DemoLine("上海 BGP", "上海", (CLOUD, HOST, METAL), None, Decimal(25), {"DL360-E5": Decimal(700)}),
    DemoLine("洛杉矶 CN2 GIA", "美国", (CLOUD, METAL), Decimal(45), Decimal(18), {"E3-1230": Decimal(500)}),
    DemoLine("新加坡 BGP", "新加坡", (CLOUD,), Decimal(40), Decimal(22)),
]

SYSTEMS = [
    ("Ubuntu", "24.04 LTS", OSFamily.LINUX),
    ("Ubuntu", "22.04 LTS", OSFamily.LINUX),
    ("Debian", "12", OSFamily.LINUX),
    ("Rocky Linux", "9", OSFamily.LINUX),
    ("AlmaLinux", "9", OSFamily.LINUX),
    ("Windows Server", "2022", OSFamily.WINDOWS),
    ("Windows Server", "2019", OSFamily.WINDOWS),
]

# Login, name, the company's member ID, balance.
MEMBERS = [
    (MEMBER_LOGIN, "李雷", "2305", Decimal(1000)),
    ("hanmei", "韩梅", "1840", Decimal(500)),
    ("wangfang", "王芳", "518", Decimal(200)),
    ("zhaolei", "赵磊", "196", Decimal(0)),
    ("chenjing", "陈静", "48", Decimal(360)),
]


@dataclass(frozen=True)
class DemoBatch:
    """`made` is an instant, or how long before now. `until` is the last valid day, `years` a period.

    The feature text's batches "until 2024-06-26" were good for three years when they were made; so are they here
    (`three_years`), lest nearly every batch of the demo be expired.
    """

    key: str
    product_type: ProductType
    quantity: int
    made: datetime | timedelta
    until: date | None = None
    years: int = 0
    three_years: bool = False
    name: str = "云服务器-香港"
    line: str = "香港 CN2"
    price: Decimal | None = PRICE
    windows: WindowsPolicy = WindowsPolicy.NOT_OFFERED
    disabled: bool = False
    spec: dict[str, Any] = field(default_factory=dict)


def _then(month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """An instant of 2021 as the feature text writes it; the portal's zone is put on it later."""
    return datetime(2021, month, day, hour, minute, second)


def _ago(days: float) -> timedelta:
    return timedelta(days=days)


# Keys are the batch IDs of the feature text; those made long ago come first, as they did.
BATCHES = [
    DemoBatch("1", METAL, 10, _then(6, 22, 9), until=date(2021, 6, 30)),
    DemoBatch("5", HOST, 100, _then(6, 22, 10), until=date(2021, 6, 30)),
    DemoBatch("6", CLOUD, 5, _then(6, 22, 11), until=date(2021, 7, 25)),
    DemoBatch("7", METAL, 100, _then(6, 23, 9), until=date(2021, 9, 26)),
    DemoBatch("8", METAL, 100, _then(6, 23, 10), until=date(2021, 7, 27)),
    DemoBatch("68", CLOUD, 1, _then(6, 26, 9, 10), until=date(2021, 7, 26)),
    DemoBatch("69", CLOUD, 1, _then(6, 26, 9, 20), until=date(2021, 7, 26), disabled=True),
    DemoBatch("70", CLOUD, 1, _then(6, 26, 9, 30), until=date(2021, 7, 26)),
    DemoBatch("71", HOST, 1, _then(6, 26, 9, 40), until=date(2021, 7, 26)),
    DemoBatch("72", METAL, 1, _then(6, 26, 10), until=date(2021, 7, 26)),
    DemoBatch("76", METAL, 100, _then(6, 26, 11), until=date(2021, 7, 26)),
    DemoBatch("77", CLOUD, 1, _then(6, 26, 12), until=date(2021, 9, 26)),
    DemoBatch("78", METAL, 100, _then(6, 28, 9), until=date(2021, 7, 28)),
    DemoBatch("73", METAL, 100, _ago(70), three_years=True),
    DemoBatch("74", METAL, 100, _ago(69), three_years=True, disabled=True),
    DemoBatch("75", METAL, 100, _ago(68), three_years=True),
    DemoBatch("9", CLOUD, 100, _ago(60), three_years=True),
    DemoBatch("2", METAL, 100, _ago(50), years=1),
    DemoBatch("3", CLOUD, 10, _ago(48), years=2, disabled=True),
    DemoBatch("4", CLOUD, 20, _ago(45), years=2, windows=WindowsPolicy.MEMBER_PAYS),
    DemoBatch(
        "fresh-host",
        HOST,
        10,
        _ago(6),
        years=2,
        name="虚拟主机-香港 10G",
        line="香港 BGP",
        price=None,
        spec={"sites": 5},
    ),
    DemoBatch(
        "fresh-metal",
        METAL,
        10,
        _ago(4),
        years=1,
        name="裸金属-洛杉矶 E3",
        line="洛杉矶 CN2 GIA",
        price=None,
        windows=WindowsPolicy.INCLUDED,
        spec={"server_model": "E3-1230", "cpu": "Intel Xeon E3-1230 v6", "memory_gb": 32, "disks": "1 × 480 GB SSD"},
    ),
    DemoBatch(
        "fresh-cloud",
        CLOUD,
        20,
        _ago(2),
        years=1,
        name="云服务器-香港 2核4G",
        price=None,
        windows=WindowsPolicy.MEMBER_PAYS,
        spec={"bandwidth_mbps": 5},
    ),
]
DEMO_CODES = ("fresh-cloud", "fresh-host", "fresh-metal")  # where the codes to try come from, one a product type


@dataclass(frozen=True)
class DemoUse:
    """A card used. `ends` is how its order stands: active, pending, failed or needs_attention."""

    batch: str
    serial: int
    member: str
    at: datetime | timedelta
    system: str = ""
    ends: str = "active"


# The times of 2021 are the usage log's of the feature text.
USES = [
    DemoUse("71", 1, MEMBER_LOGIN, _then(6, 26, 16, 56, 13)),
    DemoUse("1", 1, "hanmei", _then(6, 26, 17, 12, 39), "Ubuntu 22.04 LTS"),
    DemoUse("6", 1, "zhaolei", _then(6, 26, 17, 13, 50), "Debian 12"),
    DemoUse("5", 1, "hanmei", _then(6, 26, 17, 14, 36)),
    DemoUse("6", 2, MEMBER_LOGIN, _then(6, 26, 17, 15, 5), "Ubuntu 22.04 LTS"),
    DemoUse("5", 2, "wangfang", _then(6, 26, 17, 16, 17)),
    DemoUse("6", 3, "wangfang", _then(6, 26, 17, 19, 20), "Rocky Linux 9"),
    DemoUse("1", 2, "chenjing", _then(6, 26, 17, 51, 39), "Debian 12"),
    DemoUse("1", 3, MEMBER_LOGIN, _then(6, 26, 19, 14, 50), "Rocky Linux 9"),
    DemoUse("78", 1, "chenjing", _then(6, 28, 9, 59, 8), "Debian 12"),
    DemoUse("78", 2, "zhaolei", _then(6, 28, 9, 59, 49), "Ubuntu 22.04 LTS"),
    DemoUse("4", 1, MEMBER_LOGIN, _ago(33.21), "Ubuntu 24.04 LTS"),
    DemoUse("2", 1, "hanmei", _ago(26.37), "Rocky Linux 9"),
    DemoUse("4", 2, "chenjing", _ago(19.62), "Windows Server 2022"),
    DemoUse("2", 2, MEMBER_LOGIN, _ago(15.08), "Debian 12"),
    DemoUse("4", 3, "wangfang", _ago(12.44), "AlmaLinux 9"),
    DemoUse("4", 4, MEMBER_LOGIN, _ago(8.53), "Windows Server 2022"),
    DemoUse("2", 3, "zhaolei", _ago(5.17), "Ubuntu 24.04 LTS"),
    DemoUse("fresh-host", 1, MEMBER_LOGIN, _ago(3.29)),
    DemoUse("fresh-metal", 1, "hanmei", _ago(1.12), "Debian 12", ends="needs_attention"),
    DemoUse("fresh-cloud", 1, MEMBER_LOGIN, _ago(0.13), "Debian 12", ends="failed"),
    DemoUse("fresh-cloud", 2, "wangfang", _ago(0.003), "Ubuntu 24.04 LTS", ends="pending"),
]
