"""Django's admin as a window: everything can be looked at, nothing changed, and no secret is in a field.

What staff do is done on the portal's own pages, which call actions and leave an audit trail. Signing in goes through
the portal's own page, with its second factor and its limits.
"""

from __future__ import annotations

from typing import Any

import allauth.account.admin
import allauth.mfa.admin
import allauth.socialaccount.admin
import allauth.usersessions.admin  # noqa: F401 - all of them register models, which are taken off again below
import django.contrib.auth.admin  # noqa: F401
from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from .models import LedgerEntry, User

admin.site.unregister([EmailAddress, Authenticator, Group, SocialAccount, SocialApp, SocialToken, UserSession])
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    show_full_result_count = False
    list_per_page = 50

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what the list's own filters ask: any other condition in the URL tells a hidden field bit by bit."""
        return lookup in {f"{name}__{how}" for name in self.list_filter for how in ("exact", "isnull")}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ["id", "username", "email", "external_id", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_active"]
    search_fields = ["username", "email", "external_id"]
    exclude = ["password"]


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    list_display = ["name"]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = ["id", "member", "kind", "amount", "balance_after", "created_at"]
    list_select_related = ["member"]
    list_filter = ["kind"]
