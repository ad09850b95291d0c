"""Handing out the codes of a batch (下载): why, who, then a stream of TXT."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from accounts.address import client_address
from accounts.exceptions import TooManyAttempts
from accounts.models import User
from accounts.throttle import give_back, take_place

from .. import exports
from ..exceptions import CardError
from ..forms import DownloadForm
from ..models import Batch
from ..vault import KeyUnavailable
from .access import StaffRequest, staff_view

PASSWORD_TRIES = 5


@staff_view("cards.download_batch")
@sensitive_post_parameters("password")
def batch_download(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = get_object_or_404(Batch.objects.with_used(), pk=pk)
    form = DownloadForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _is_the_person(request.user, form):
        try:
            chunks = exports.download_txt(
                batch=batch,
                actor=request.user,
                reason=form.cleaned_data["reason"],
                address=client_address(request),
            )
        except CardError as error:
            form.add_error(None, str(error))
        except KeyUnavailable:
            form.add_error(None, _("The key of this batch is not available. Please tell whoever runs the portal."))
        else:
            return _attachment(chunks, f"{batch.number}.txt")
    status = 422 if form.errors else 200
    return render(request, "staff/batch_download.html", {"batch": batch, "form": form}, status=status)


def _is_the_person(user: User, form: DownloadForm) -> bool:
    """Whether the password is the signed-in user's own; each try takes a place first, a right one gives it back."""
    key = f"password:{user.pk}"
    try:
        take_place(key, limit=PASSWORD_TRIES, window=settings.THROTTLE_WINDOW)
    except TooManyAttempts as error:
        form.add_error("password", str(error))
        return False
    if not user.check_password(form.cleaned_data["password"]):
        form.add_error("password", _("This is not your password."))
        return False
    give_back(key)
    return True


def _attachment(chunks: Iterator[bytes], filename: str) -> HttpResponseBase:
    response = StreamingHttpResponse(chunks, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
