"""Staff invite somebody to become a member: a link that works once, shown once."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts.address import client_address
from accounts.models import Invitation
from cards.views.access import StaffRequest, staff_view

from .forms import InviteForm
from .member_actions import invite_member

SHOWN = 20


@staff_view("accounts.view_user")
@staff_view("accounts.invite_member")
@require_http_methods(["GET", "POST"])
def invite(request: StaffRequest) -> HttpResponse:
    """The link stands only in the answer to the POST: what is kept of it is a hash."""
    form, link = InviteForm(request.POST or None), ""
    if request.method == "POST" and form.is_valid():
        note = form.cleaned_data["note"]
        _made, link = invite_member(actor=request.user, note=note, address=client_address(request))
        form = InviteForm()
    context = {
        "form": form,
        "link": link,
        "invitations": Invitation.objects.select_related("used_by", "created_by")[:SHOWN],
        "of_use": settings.SIGN_UP == "invitation",
        "days": settings.INVITATION_LIFETIME.days,
    }
    return render(request, "staff/member_invite.html", context)
