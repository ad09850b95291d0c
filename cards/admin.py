"""What of cards Django's admin shows; see `accounts.admin` for how."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin import ReadOnlyAdmin

from .models import AuditEvent, Batch, Card, CardUse, Image, Line, OperatingSystem, ServerModel
from .views.access import SEE_LAST4


@admin.register(Line)
class LineAdmin(ReadOnlyAdmin):
    list_display = ["name", "region", "provider", "windows_monthly_price", "active"]
    search_fields = ["name", "region"]


@admin.register(ServerModel)
class ServerModelAdmin(ReadOnlyAdmin):
    list_display = ["name", "line", "monthly_price", "active"]
    list_select_related = ["line"]


@admin.register(OperatingSystem)
class OperatingSystemAdmin(ReadOnlyAdmin):
    list_display = ["name", "version", "family"]


@admin.register(Image)
class ImageAdmin(ReadOnlyAdmin):
    list_display = ["operating_system", "line", "reference", "active"]
    list_select_related = ["operating_system", "line"]


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = ["id", "product_type", "name", "line", "reference_price", "quantity", "expires_at", "status"]
    list_select_related = ["line"]
    list_filter = ["product_type", "status"]
    search_fields = ["name"]
    exclude = ["wrapped_key", "key_id", "request_token"]


@admin.register(Card)
class CardAdmin(ReadOnlyAdmin):
    list_display = ["id", "batch", "serial", "last4", "status", "used_at"]
    list_select_related = ["batch"]

    def get_list_display(self, request: HttpRequest) -> Any:
        return [name for name in self.list_display if name != "last4" or request.user.has_perm(SEE_LAST4)]

    def get_exclude(self, request: HttpRequest, obj: Card | None = None) -> list[str]:
        return ["lookup", "sealed", *([] if request.user.has_perm(SEE_LAST4) else ["last4"])]


@admin.register(CardUse)
class CardUseAdmin(ReadOnlyAdmin):
    list_display = ["id", "order_number", "batch", "member", "used_at", "returned_at"]
    list_select_related = ["batch", "member"]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "actor", "batch", "card", "address"]
    list_select_related = ["actor", "batch", "card"]
    list_filter = ["action"]
