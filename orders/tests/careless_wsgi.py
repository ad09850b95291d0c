"""The negative control of the exactly-once tests: the portal with its claim replaced by check-then-write."""

from __future__ import annotations

from pickup_portal.wsgi import application  # noqa: F401

from cards import actions  # isort: skip

from .careless import lock_card_without_lock, use_card_unconditionally

actions.lock_card = lock_card_without_lock
actions.use_card = use_card_unconditionally
