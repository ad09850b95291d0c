"""Everything is killed again and again, and every order is open in the end, once: `make chaos`.

KILLS and REDEMPTIONS set the size; the smoke run is `make chaos KILLS=12 REDEMPTIONS=150`.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable

import pytest

from .chaos import LEASE, SHARES, SWEEP, Members, Portal, Verdict, chaos_portal, judge

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("KILLS", "320"))
REDEMPTIONS = int(os.environ.get("REDEMPTIONS", "5000"))
PAUSE = float(os.environ.get("PAUSE", "0.8"))


def kinds(kills: int, rng: random.Random) -> list[str]:
    """At least one of each, in their shares, in any order."""
    hows = [how for how, share in SHARES.items() for _ in range(max(1, kills * share // 100))]
    hows += ["task"] * (kills - len(hows))
    rng.shuffle(hows)
    return hows[:kills]


def torment(portal: Portal, members: Members, kills: int) -> None:
    """Kill, let redemptions through in proportion, kill again; at the end everything is up."""
    rng = random.Random()  # noqa: S311
    total = len(members.codes)
    members.start()
    for number, how in enumerate(kinds(kills, rng), 1):
        members.allowed = total * number // kills
        time.sleep(PAUSE * (0.5 + rng.random()))
        portal.kill(how, rng)
    members.allowed = total
    members.join(300)
    assert not members.is_alive()


def table(rows: Iterable[tuple[str, object]]) -> None:
    print()
    for name, value in rows:
        print(f"  {name:<44}{value}")


def rows(portal: Portal, members: Members, verdict: Verdict, seconds: float) -> list[tuple[str, object]]:
    v, late, total = verdict, verdict.recovery, len(portal.kills)
    killed = ", ".join(f"{count} {how}" for how, count in Counter(kill.how for kill in portal.kills).most_common())
    taken_up = "-"
    if late:
        p95 = late[int(len(late) * 0.95)]
        taken_up = f"median {statistics.median(late):.1f} s, p95 {p95:.1f} s, at most {late[-1]:.1f} s"
    return [
        ("kills", f"{total} in {seconds:.0f} s: {killed}"),
        ("redemptions", f"{v.redeemed}, answered {v.acknowledged}, asked again {members.again} times"),
        ("lost / doubled / orphans / missing", f"{v.lost} / {v.doubled} / {v.orphans} / {v.missing}"),
        ("final", f"{v.final} of {v.redeemed} ({v.active} active)"),
        ("attempts cut off", len(late)),
        ("duplicates absorbed by the key", v.absorbed),
        (f"taken up after the lease ({LEASE} s) by", taken_up),
    ]


def test_nothing_is_lost_and_nothing_happens_twice() -> None:
    with chaos_portal() as portal:
        members = Members(portal, portal.set_up(REDEMPTIONS))
        portal.start_all()
        start = time.monotonic()
        torment(portal, members, KILLS)
        took = time.monotonic() - start
        portal.wait_until_final(120)
        verdict = judge(portal, members)
        table([*rows(portal, members, verdict, took), ("last order open after", f"{time.monotonic() - start:.0f} s")])
        assert members.given_up == []
        assert verdict.clean()
        assert verdict.redeemed == verdict.acknowledged == verdict.active == verdict.final == REDEMPTIONS
        assert verdict.absorbed > 0
        assert len(portal.kills) == KILLS
        assert "BROKEN" not in portal.lab.manage("check_invariants")


def test_a_killed_worker_s_orders_go_on_within_lease_and_sweep() -> None:
    """One thing at a time: a worker dies with its processes in the middle of calls, all else stands."""
    rounds, took = 5, []
    with chaos_portal("--hold", "3") as portal:
        made = portal.set_up(rounds * 4)
        portal.start_all()
        rng = random.Random()  # noqa: S311
        members = Members(portal, made)
        members.start()
        for number in range(1, rounds + 1):
            members.allowed = number * 4
            while portal.count("state = 'provisioning' AND lease_until > now()") < 1:
                time.sleep(0.02)
            time.sleep(0.2)
            portal.kill("worker", rng)
            assert portal.wait_until_final(60)
        verdict = judge(portal, members)
        took = verdict.recovery
        seconds = ", ".join(f"{after:.2f} s" for after in took)
        table([("workers killed alone", rounds), (f"taken up after the lease ({LEASE} s) by", seconds)])
        assert took, "no worker was killed in the middle"
        assert verdict.clean()
        assert max(took) < SWEEP + 1.5  # the sweep, its message, and a claim


def test_without_the_sweep_orders_are_lost() -> None:
    """Negative control: the same kills, and no beat."""
    with chaos_portal() as portal:
        members = Members(portal, portal.set_up(max(REDEMPTIONS // 20, 100)))
        portal.start_all(beat=False)
        portal.start("beat", SWEEP_SECONDS="86400")
        torment(portal, members, max(KILLS // 10, 12))
        stuck = -1
        while stuck != (stuck := portal.in_flight()):
            time.sleep(2 * LEASE)
        table([("without the sweep", f"{stuck} of {len(members.orders)} orders never open")])
        assert stuck > 0


def test_without_the_key_products_are_doubled() -> None:
    """Negative control: an adapter that does not look, and a provider that does not heed the key."""
    with chaos_portal("--deaf") as portal:
        members = Members(portal, portal.set_up(max(REDEMPTIONS // 20, 100), cloud_share=0))
        portal.start_all()
        torment(portal, members, max(KILLS // 10, 12))
        portal.wait_until_final(120)
        verdict = judge(portal, members)
        table([("without the key", f"{verdict.doubled} of {verdict.redeemed} orders have more than one product")])
        assert verdict.doubled > 0
