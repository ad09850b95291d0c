"""Where a machine's controller fetches the first-boot settings, and where the machine says that it is up.

Nobody signs in here: the order's token in the address is what opens it, while the order is being opened and no longer.
"""

from __future__ import annotations

import re
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from cards import vault

from . import seeds
from .models import Order

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@never_cache
@require_safe
@sensitive_variables("content")
def machine_seed(request: HttpRequest, key: UUID, token: str) -> HttpResponse:
    """The disc, whole or the piece that was asked for: many controllers read it as the machine does."""
    order = _order(key, token)
    phone_home = request.build_absolute_uri(reverse("orders:machine-booted", args=[key, token]))
    content = seeds.seed_disc(order, token, phone_home)
    response = HttpResponse(content, content_type="application/x-iso9660-image", headers={"Accept-Ranges": "bytes"})
    if asked := RANGE.fullmatch(request.headers.get("Range", "")):
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first > last:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        response.content, response.status_code = content[first : last + 1], 206
        response["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    response["Content-Length"] = str(len(response.content))
    return response


@never_cache
@csrf_exempt
@require_POST
def machine_booted(request: HttpRequest, key: UUID, token: str) -> HttpResponse:
    seeds.note_booted(_order(key, token))
    return HttpResponse(status=204)


def _order(key: UUID, token: str) -> Order:
    try:
        order = seeds.opening_order(key, token)
    except vault.KeyUnavailable:
        order = None
    if order is None:
        raise Http404
    return order
