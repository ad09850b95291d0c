"""Everything is killed again and again, and every order is open in the end, once: `make chaos`.

KILLS and REDEMPTIONS set the size; the smoke run is `make chaos KILLS=12 REDEMPTIONS=150`.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from .chaos import LEASE, SHARES, SWEEP, ZOMBIES, Members, Portal, Verdict, chaos_portal, judge

pytestmark = pytest.mark.heavy

KILLS = int(os.environ.get("KILLS", "320"))
REDEMPTIONS = int(os.environ.get("REDEMPTIONS", "5000"))
HOLD = 2.0  # seconds that opening a product takes at most, where workers are to be met in the middle
BACKLOG, KEEPS_UP_WITHIN = 200, 10.0
PAUSE = float(os.environ.get("PAUSE", "0.5"))


def kinds(kills: int, rng: random.Random) -> list[str]:
    """At least one of each, in their shares, in any order."""
    hows = [how for how, share in SHARES.items() for _ in range(max(1, kills * share // 100))]
    hows += ["task"] * (kills - len(hows))
    rng.shuffle(hows)
    return hows[:kills]


def torment(portal: Portal, members: Members, kills: int, share: float = 1.0) -> None:
    """Kill, let redemptions through in proportion up to that share, kill again; at the end everything is up.

    On a slow machine the kills wait for the orders, so that each finds the portal at work and not only starting up.
    """
    rng = random.Random()  # noqa: S311
    total = int(len(members.codes) * share)
    members.start()
    for number, how in enumerate(kinds(kills, rng), 1):
        members.allowed = total * number // kills
        time.sleep(PAUSE * (0.5 + rng.random()))
        deadline = time.monotonic() + KEEPS_UP_WITHIN
        while portal.count("state = 'active'") < members.allowed - BACKLOG and time.monotonic() < deadline:
            time.sleep(0.25)
        portal.kill(how, rng)


def redeem_the_rest(members: Members) -> None:
    members.allowed = len(members.codes)
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
        (f"cut off to taken up (lease {LEASE} s, sweep {SWEEP} s)", taken_up),
        ("ended by themselves, started again", dict(portal.ended) or "none"),
    ]


def test_nothing_is_lost_and_nothing_happens_twice() -> None:
    with chaos_portal() as portal:
        members = Members(portal, portal.set_up(REDEMPTIONS))
        portal.start_all()
        start = time.monotonic()
        torment(portal, members, KILLS)
        redeem_the_rest(members)
        took = time.monotonic() - start
        portal.wait_until_final(300)
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
        table([("workers killed alone", rounds), (f"cut off to taken up (lease {LEASE} s, sweep {SWEEP} s)", seconds)])
        assert took, "no worker was killed in the middle"
        assert verdict.clean()
        # Its message and a claim; on a machine so busy that a process takes seconds to start, a few wait for that.
        assert statistics.median(took) < LEASE + SWEEP + 1


def test_a_worker_asked_to_end_leaves_no_order_behind() -> None:
    """SIGTERM: its calls come to their end, and no turn takes up another order, though many wait."""
    with chaos_portal("--hold", str(HOLD)) as portal:
        members = Members(portal, portal.set_up(60, cloud_share=0))
        portal.start_all(beat=False)
        members.start()
        members.allowed = 60
        wait_for(lambda: portal.count("state = 'provisioning' AND lease_until > now()") >= 6)
        took = max(portal.ask_to_end(name) for name in ("worker-1", "worker-2"))
        left = portal.count("state = 'provisioning' AND lease_until > now()")
        waiting = portal.count("state = 'pending'")
        table(
            [("asked to end in the middle of calls of up to 2 s", f"{took:.1f} s, {left} leases left, {waiting} wait")]
        )
        assert left == 0
        assert waiting > 0, "there was nothing more to take up"


def test_with_neither_broker_nor_worker_the_sweep_command_opens_everything() -> None:
    count = max(REDEMPTIONS // 20, 50)
    with chaos_portal() as portal:
        members = Members(portal, portal.set_up(count))
        for process in ("provider", "web"):
            portal.start(process)
        portal.wait_for_web()
        members.start()
        redeem_the_rest(members)
        assert portal.count("state = 'pending'") == count
        start = time.monotonic()
        portal.manage("sweep", "--drain", "--timeout", "240")
        verdict = judge(portal, members)
        done = (
            f"{verdict.active} of {count} orders opened in {time.monotonic() - start:.0f} s by the command sweep alone"
        )
        table([("broker and workers gone all the time", done)])
        assert verdict.clean()
        assert verdict.active == count


def test_without_the_sweep_orders_are_lost() -> None:
    """Negative control: kills of the same kinds, and a beat that calls no sweep. The last ones find nobody to wake."""
    with chaos_portal("--hold", "2") as portal:
        members = Members(portal, portal.set_up(max(REDEMPTIONS // 20, 100)))
        portal.start_all(beat=False)
        portal.start("beat", SWEEP_SECONDS="86400")
        torment(portal, members, max(KILLS // 10, 12), share=0.9)
        redeem_the_rest(members)
        for name in ("worker-1", "broker", "worker-2"):
            portal.kill(name, random.Random())  # noqa: S311
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
        redeem_the_rest(members)
        portal.wait_until_final(120)
        verdict = judge(portal, members)
        table([("without the key", f"{verdict.doubled} of {verdict.redeemed} orders have more than one product")])
        assert verdict.doubled > 0


def wake_the_dead(portal: Portal, members: Members, name: str, rounds: int) -> tuple[int, int, int, int]:
    """Stop a worker in the middle of its calls, past every lease; let others do its work; let it go on.

    (processes stopped, attempts cut in the middle, rows of orders and services it wrote, resources it made)
    """
    stopped = attempts = writes = made = 0
    for number in range(1, rounds + 1):
        portal.start(name, PROVISIONER_PLACES="100", TASK_TIME_LIMIT_SECONDS="600", DRAIN_SECONDS="0")
        members.allowed = number * ZOMBIES
        wait_for(lambda: portal.count("state = 'provisioning' AND lease_until > now()") >= ZOMBIES - 2)
        time.sleep(random.random() * HOLD / 4)  # noqa: S311  (before the product was made, or after)
        portal.signal_all(name, signal.SIGSTOP)
        held = portal.in_flight()
        portal.start("worker-1", PROVISIONER_PLACES="100")
        portal.start("beat")
        assert portal.wait_until_final(180), portal.ask("SELECT number, state, attempts, last_error FROM orders_order")
        portal.stop("beat")
        portal.stop("worker-1")
        before, there = portal.rows(), len(portal.plane.resources(deleted=True))
        portal.signal_all(name, signal.SIGCONT)
        time.sleep(LEASE)  # their time-outs are shorter
        stopped, attempts = stopped + ZOMBIES, attempts + held
        writes += sum(before[key] != row for key, row in portal.rows().items())
        made += len(portal.plane.resources(deleted=True)) - there
        portal.stop(name)
    return stopped, attempts, writes, made


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["zombie", "careless"])
def test_workers_stopped_past_their_lease_write_nothing_and_make_nothing(name: str) -> None:
    """Careless is the negative control: without lease and fence the same workers do write."""
    rounds = 5 if name == "zombie" else 2
    with chaos_portal("--hold", str(HOLD)) as portal:
        members = Members(portal, portal.set_up(rounds * ZOMBIES, cloud_share=0), threads=ZOMBIES)
        for process in ("broker", "provider"):
            portal.start(process)
        portal.start("web", PROVISIONER_PLACES="100")  # which calls no more workers than there are places
        portal.wait_for_web()
        members.start()
        stopped, attempts, writes, made = wake_the_dead(portal, members, name, rounds)
        members.join(60)
        verdict = judge(portal, members)
        result = f"{stopped} stopped in {attempts} attempts: {writes} writes, {made} resources"
        table([(f"{name} workers continued past the lease", result)])
        assert attempts > rounds * ZOMBIES // 2
        assert verdict.clean() or name == "careless"
        assert (writes, made) == (0, 0) if name == "zombie" else writes > 0
