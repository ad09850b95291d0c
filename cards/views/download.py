"""Handing out the codes of a batch (下载): why, who, then a stream of TXT."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from accounts.address import client_address

from .. import exports
from ..exceptions import CardError
from ..forms import DownloadForm
from ..models import Batch
from ..vault import KeyUnavailable
from .access import StaffRequest, staff_view


@staff_view("cards.download_batch")
def batch_download(request: StaffRequest, pk: int) -> HttpResponseBase:
    batch = get_object_or_404(Batch.objects.with_used(), pk=pk)
    form = DownloadForm(request.POST or None, request=request)
    if request.method == "POST" and form.is_valid():
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


def _attachment(chunks: Iterator[bytes], filename: str) -> HttpResponseBase:
    response = StreamingHttpResponse(chunks, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
