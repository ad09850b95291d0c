"""Where control planes call back: /callbacks/<provider>/, signed. Nobody signs in here, so no session is read."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .callbacks import heed_callback
from .provisioning.base import BadCallback
from .provisioning.registry import get_provisioner

LARGEST_CALLBACK = 65_536


@csrf_exempt
@require_POST
def callback(request: HttpRequest, provider: str) -> HttpResponse:
    """204 to whoever signed, whether or not the order is known; 401 to everybody else, whatever was wrong."""
    try:
        if int(request.headers.get("Content-Length") or 0) > LARGEST_CALLBACK:
            raise BadCallback("size")
        key = get_provisioner(provider).callback_key(request.headers, request.body)
    except (BadCallback, ImproperlyConfigured, RequestDataTooBig, UnreadablePostError, ValueError):
        return HttpResponse(status=401)
    heed_callback(provider=provider, key=key)
    return HttpResponse(status=204)
