"""The chain over the audit trail: each link a keyed hash over the link before, its position and its event.

1. `cards.audit.record` writes events without waiting for one another, each with its mark.
2. The sealer, alone because it locks the head, links the new ones in the order of their ids; one whose mark does not
   fit is left out, and stays a breach for ever.
3. The head says where the chain ends, under a keyed hash of its own.
4. `verify` walks the chain from the start and reports every link that does not hold.

A transaction may commit an event with a smaller id than those sealed already: it is linked later, which is no breach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils import timezone

from . import audit, vault
from .models import AuditCheck, AuditEvent, AuditHead, AuditSeal

logger = logging.getLogger(__name__)

GENESIS = bytes(32)
ROUND = 2000  # links made in one transaction
PAGE = 2000  # links verified between two looks at the database
SETTLED = timedelta(minutes=1)  # events sealed this long ago have no unsealed ones before them but stragglers


@dataclass(frozen=True)
class Break:
    """`position` 0: the break is not at a link."""

    position: int
    event_id: int | None
    what: str


def unsealed(after: int = 0) -> QuerySet[AuditEvent]:
    """Events with a larger id than `after` that no link holds."""
    sealed = AuditSeal.objects.filter(event=OuterRef("pk"))
    return AuditEvent.objects.filter(~Exists(sealed), pk__gt=after).order_by("pk")


def seal_new_events(*, everything: bool = False) -> int:
    """Link the events not linked yet; returns how many. `everything` looks for stragglers from the beginning too."""
    total, after = 0, 0 if everything else _horizon()
    while (last := _window_end(after)) is not None:
        made = _seal_window(after, last)
        if made is None:  # another sealer is at work
            break
        total, after = total + made, last
    return total


def _window_end(after: int) -> int | None:
    """The key of the last of the next ROUND events; None when there is none. A window of keys, so that finding what is
    unsealed in it costs the same however long the chain is."""
    keys = AuditEvent.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)
    return keys[ROUND - 1 : ROUND].first() or keys.last()


def _seal_window(after: int, last: int) -> int | None:
    """Link what is not linked among the events with keys in (after, last]; how many, None while another does it."""
    new = unsealed(after).filter(pk__lte=last)
    if not new.exists():  # no lock, no write while nothing happens
        return 0
    with transaction.atomic():
        head = _locked_head()
        if head is None:
            return None
        events = list(new)
        genuine = [event for event in events if audit.is_genuine(event)]
        if strange := len(events) - len(genuine):
            logger.error("%s audit events do not fit their marks and are not sealed; run check_invariants", strange)
        _link(head, genuine)
    return len(genuine)


def _horizon() -> int:
    return AuditHead.objects.filter(pk=1).values_list("horizon", flat=True).first() or 0


def _locked_head() -> AuditHead | None:
    """The head, locked until the end of the transaction; None while another sealer holds it."""
    AuditHead.objects.get_or_create(pk=1, defaults={"seal": GENESIS, "mark": b""})
    return AuditHead.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=1).first()


def _link(head: AuditHead, events: list[AuditEvent]) -> None:
    if not events:
        return
    key_id, now = vault.newest_audit_key(), timezone.now()
    position, previous, links = head.position, bytes(head.seal), []
    for event in events:
        position += 1
        previous = vault.audit_seal(key_id, body_of(previous, position, event))
        links.append(AuditSeal(position=position, event=event, seal=previous, key_id=key_id, sealed_at=now))
    AuditSeal.objects.bulk_create(links)
    head.position, head.seal, head.key_id = position, previous, key_id
    head.mark = vault.audit_seal(key_id, _head_body(position, previous))
    settled = AuditSeal.objects.filter(sealed_at__lt=now - SETTLED, position__gt=position - 50 * ROUND)
    head.horizon = max(head.horizon, settled.order_by("-position").values_list("event_id", flat=True).first() or 0)
    head.save(update_fields=["position", "seal", "key_id", "mark", "horizon"])


def body_of(previous: bytes, position: int, event: audit.Said, said: bytes | None = None) -> bytes:
    numbers = position.to_bytes(8, "big") + event.pk.to_bytes(8, "big")
    return previous + numbers + bytes(event.mark) + (said or audit.canonical(event))


def _head_body(position: int, seal: bytes) -> bytes:
    return b"head" + position.to_bytes(8, "big") + seal


# --- Verifying --------------------------------------------------------------------------------------------------------
@dataclass
class Walk:
    """How far a verification came: it may stop and go on later."""

    position: int = 0
    seal: bytes = GENESIS

    def links(self, limit: int | None = None) -> Iterator[Break]:
        """Go over the next `limit` links (all of them), yielding each break found on the way."""
        while limit is None or limit > 0:
            count = PAGE if limit is None else min(PAGE, limit)
            links = AuditSeal.objects.filter(position__gt=self.position).order_by("position")
            page = list(links.values_list("position", "event_id", "seal", "key_id", named=True)[:count])
            if not page:
                return
            events = _events([link.event_id for link in page])
            for link in page:
                yield from self._step(link, events.get(link.event_id))
            limit = limit and limit - count

    def _step(self, link: Any, event: audit.Said | None) -> Iterator[Break]:
        if link.position != self.position + 1:
            yield Break(self.position + 1, None, f"links {self.position + 1} to {link.position - 1} are gone")
        if what := wrong_with(link, event, self.seal):
            yield Break(link.position, link.event_id, what)
        self.position, self.seal = link.position, bytes(link.seal)


def _events(keys: list[int]) -> dict[int, audit.Said]:
    """Rows and not objects: a whole chain is read so. By their range, which is short but for stragglers."""
    events, first, last = AuditEvent.objects.order_by(), min(keys), max(keys)
    near = last - first < 4 * len(keys)
    found = events.filter(pk__range=(first, last)) if near else events.filter(pk__in=keys)
    return {row.pk: row for row in found.values_list(*audit.COLUMNS, named=True)}


def wrong_with(link: Any, event: audit.Said | None, previous: bytes) -> str:
    """`link`: an AuditSeal, or a row of its columns."""
    if event is None:
        return "the event is gone"
    said = audit.canonical(event)
    if not audit.is_genuine(event, said):
        return "the event was changed"
    try:
        fits = vault.audit_seal(link.key_id, body_of(previous, link.position, event, said)) == bytes(link.seal)
    except vault.KeyUnavailable:
        return f"the key {link.key_id!r} is missing from AUDIT_KEYS"
    return "" if fits else "the link does not fit the one before it"


def seal_before(link: AuditSeal) -> bytes:
    """The hash that the link stands on."""
    before = AuditSeal.objects.filter(position=link.position - 1).first()
    return bytes(before.seal) if before else GENESIS


def head_breaks(head: AuditHead | None) -> Iterator[Break]:
    """Whether the chain still reaches the end that the head remembers. Read the head first: links only come on top."""
    if head is None:
        if AuditSeal.objects.exists():
            yield Break(0, None, "the head of the chain is gone")
        return
    if not head.position:
        return
    yield from head_mark_wrong(head)
    last = AuditSeal.objects.filter(position=head.position).first()
    if last is None or bytes(last.seal) != bytes(head.seal):
        yield Break(head.position, None, "the end of the chain was cut off")


def head_mark_wrong(head: AuditHead) -> Iterator[Break]:
    try:
        fits = vault.audit_seal(head.key_id, _head_body(head.position, bytes(head.seal))) == bytes(head.mark)
    except vault.KeyUnavailable:
        fits = False
    if not fits:
        yield Break(head.position, None, "the head of the chain was changed")


def forged() -> Iterator[AuditEvent]:
    """Events outside the chain whose marks do not fit: the portal did not write them so."""
    return (event for event in unsealed().iterator(chunk_size=PAGE) if not audit.is_genuine(event))


def copied() -> list[str]:
    """Events that share one mark, as texts of their ids: a mark holds random bytes, so only a copy has it too."""
    doubles = AuditEvent.objects.order_by().values("mark").annotate(n=Count("pk")).filter(n__gt=1).values("mark")
    found: dict[bytes, list[int]] = {}
    for pk, mark in AuditEvent.objects.filter(mark__in=doubles).order_by("pk").values_list("pk", "mark"):
        found.setdefault(bytes(mark), []).append(pk)
    return [", ".join(map(str, ids)) for ids in found.values()]


def anchor() -> str:
    """Where the chain ends now, as "position:hash", to be noted outside the database."""
    head = AuditHead.objects.filter(pk=1).first()
    return f"{head.position}:{bytes(head.seal).hex()}" if head else "0:"


def misses(noted: str) -> str:
    """What is wrong with the chain as seen from an `anchor` noted before; empty when the link still stands."""
    position, _colon, seal = noted.strip().partition(":")
    if not position.isdigit():
        return "an anchor is written position:hash"
    link = AuditSeal.objects.filter(position=int(position)).first()
    if link is None:
        return f"the chain has no link {position} any more" if int(position) else ""
    return "" if bytes(link.seal).hex() == seal else f"link {position} is another one now"


def verify() -> Iterator[Break]:
    """Every break of the whole chain."""
    head = AuditHead.objects.filter(pk=1).first()
    yield from Walk().links()
    yield from head_breaks(head)


CHECK_SECONDS = 10.0  # one turn of the background verification
WHOLE_EVERY = timedelta(hours=1)
SHORT = 20_000  # links that every turn walks from the start


def check_some(*, seconds: float = CHECK_SECONDS) -> AuditCheck:
    """Go on verifying where the last turn stopped, beginning anew now and then.

    What it finds stands in the one row of AuditCheck, for the audit page. `check_invariants` does not rely on it.
    """
    now, turn = timezone.now(), time.monotonic() + seconds
    check = AuditCheck.objects.get_or_create(pk=1)[0]
    head = AuditHead.objects.filter(pk=1).first()
    if _begins_anew(check, head):
        check.began_at, check.position, check.seal, check.breaks = now, 0, GENESIS, []
    walk = Walk(check.position, bytes(check.seal))
    found: list[Break] = []
    while time.monotonic() < turn:
        before = walk.position
        found += walk.links(PAGE)
        if walk.position == before:
            found += head_breaks(head)
            found += [Break(0, event.pk, "the event was not written by the portal") for event in forged()]
            began = check.began_at or now
            check.whole_at = check.whole_at if check.whole_at and check.whole_at >= began else now
            break
    check.position, check.seal, check.checked_at = walk.position, walk.seal, now
    if found:
        logger.error("the audit chain is broken at %s places; run check_invariants", len(found))
        known = {(each["position"], each["event"], each["what"]) for each in check.breaks}
        fresh = [each for each in found if (each.position, each.event_id, each.what) not in known]
        check.breaks += [{"position": b.position, "event": b.event_id, "what": b.what} for b in fresh[:20]]
        check.broken_at = now
    check.save()
    return check


def _begins_anew(check: AuditCheck, head: AuditHead | None) -> bool:
    """A walk that reached the end is followed by another from the start: at once when that is short."""
    if check.began_at is None:
        return True
    ended = check.whole_at is not None and check.whole_at >= check.began_at
    short = head is None or head.position <= SHORT
    return ended and (short or check.began_at < timezone.now() - WHOLE_EVERY)
