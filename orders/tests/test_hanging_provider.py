"""A provider that hangs, in a process of its own, and real workers: the orders of another open as they always do.

`make hanging-provider` runs it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pickup_portal.lifeline import die_with_parent
from pickup_portal.testing.lab import BEAT, WORKER, Lab, lab

pytestmark = pytest.mark.heavy

HANGING, USUAL, TIMEOUT = 40, 20, 8
DEAF = (
    "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
    "kept = []\nwhile True: kept.append(s.accept())"
)
SET_UP = """
from accounts.models import User
from accounts.wakeup import muted
from cards import actions, generation
from cards.models import Line
from cards.vault import BatchVault
import json
User.objects.create(username="alice")
made = {}
with muted():
    for name, quantity in json.loads(%r).items():
        line = Line.objects.create(name=name, provider=name, offers_virtual_host=True)
        spec = {"web_space_gb": 1, "databases": 0, "sites": 1, "traffic_gb": 1}
        batch = actions.create_batch(
            product_type="virtual_host", name=name, line=line, spec=spec, term_months=1, quantity=quantity,
            validity=actions.Validity.months(1),
        )
        generation.run_to_end(batch.pk)
        vault = BatchVault.of(batch)
        made[name] = [vault.open(c.serial, bytes(c.sealed)) for c in batch.cards.order_by("serial")]
print(json.dumps(made))
"""
REDEEM = """
from accounts.models import User
from orders.redemption import redeem
from orders.models import Order
import sys, time
alice = User.objects.get(username="alice")
for code in %r:
    order = redeem(code=code, member=alice)
    time.sleep(%r)
"""


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server that takes every connection and never says a word."""
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def seconds_to_open(place: Lab, count: int) -> list[float]:
    """From the redemption to ACTIVE, of the newest `count` orders of the provisioner that works."""
    ask = (
        "from orders.models import Order; import json; from django.utils import timezone\n"
        "ours = Order.objects.filter(provider='works').order_by('-pk')[:%d]\n"
        "print(json.dumps([((o.opened_at or timezone.now()) - o.created_at).total_seconds() for o in ours]))"
    )
    return [float(took) for took in json.loads(place.manage("shell", "-v0", "-c", ask % count))]


@pytest.mark.parametrize("places", [2, 4])
def test_a_hanging_provider_leaves_the_others_their_time(
    deaf: int, places: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With 4 places for 4 processes, the negative control, the others wait for the time-outs."""
    provisioners = {
        "works": {
            "BACKEND": "orders.provisioning.simulator.SimulatorProvisioner",
            "OPTIONS": {"delay": 0, "ledger": str(tmp_path / "ledger.sqlite3")},
        },
        "hangs": {
            "BACKEND": "orders.provisioning.webhook.WebhookProvisioner",
            "OPTIONS": {
                "url": f"http://127.0.0.1:{deaf}",
                "secret": "c2VjcmV0" * 6,
                "timeout": TIMEOUT,
                "allow_private": True,
            },
        },
    }
    monkeypatch.setenv("PROVISIONERS", json.dumps(provisioners))
    monkeypatch.setenv("PROVISIONER_PLACES", str(places))
    with lab() as made:
        codes = json.loads(
            made.manage("shell", "-v0", "-c", SET_UP % json.dumps({"works": 2 * USUAL, "hangs": HANGING}))
        )
        made.start(*WORKER, "--concurrency", "4")
        made.start(*BEAT)
        deadline = time.monotonic() + 60
        made.manage("shell", "-v0", "-c", REDEEM % (codes["works"][:1], 0))
        while seconds_to_open(made, 1)[0] > 30 and time.monotonic() < deadline:
            time.sleep(0.5)
        made.manage("shell", "-v0", "-c", REDEEM % (codes["works"][1:USUAL], 0.1))
        usual = seconds_to_open(made, USUAL - 1)
        made.manage("shell", "-v0", "-c", REDEEM % (codes["hangs"], 0))
        made.manage("shell", "-v0", "-c", REDEEM % (codes["works"][USUAL:], 0.1))
        beside = seconds_to_open(made, USUAL)
    print(
        f"\n{places} places for 4 processes: usually {statistics.median(usual):.2f} s (at most {max(usual):.2f}), "
        f"beside {HANGING} orders that hang {statistics.median(beside):.2f} s (at most {max(beside):.2f})"
    )
    if places == 2:
        assert max(beside) < max(usual) + 1.5
    else:
        assert max(beside) > max(usual) + 1.5
