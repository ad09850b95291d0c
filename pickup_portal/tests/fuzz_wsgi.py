"""The portal without the account pages' rate limits, so that every fuzzed post reaches its form."""

from __future__ import annotations

from pickup_portal.wsgi import application  # noqa: F401

from django.conf import settings  # isort: skip

settings.ACCOUNT_RATE_LIMITS = False
