"""The values that models hold, their labels, and the colour each shows in (see `state` in templatetags/portal.py)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class ProductType(models.TextChoices):
    CLOUD_SERVER = "cloud_server", _("Cloud server")
    VIRTUAL_HOST = "virtual_host", _("Virtual host")
    BARE_METAL = "bare_metal", _("Bare metal")

    @property
    def member_label(self) -> str:
        """What members call it, where their word is another than the staff's."""
        return str(_MEMBER_LABELS.get(self, self.label))


_MEMBER_LABELS = {ProductType.BARE_METAL: pgettext_lazy("member", "Bare metal")}


class OSFamily(models.TextChoices):
    LINUX = "linux", "Linux"
    WINDOWS = "windows", "Windows"


class ValidityKind(models.TextChoices):
    DATE = "date", _("Fixed date")
    PERIOD = "period", _("Period")


class WindowsPolicy(models.TextChoices):
    INCLUDED = "included", _("Included")
    MEMBER_PAYS = "member_pays", _("Member pays the difference")
    NOT_OFFERED = "not_offered", _("Not offered")


class BatchStatus(models.TextChoices):
    """What the row stores."""

    WAITING = "waiting", _("Waiting for approval")
    GENERATING = "generating", _("Generating")
    READY = "ready", _("Ready")
    CANCELLED = "cancelled", pgettext_lazy("batch status", "Cancelled")  # given up before it was whole; final


class BatchShown(models.TextChoices):
    """What people see: the stored status, the switch and the clock together (使用状态)."""

    WAITING = "waiting", _("Waiting for approval")
    GENERATING = "generating", _("Generating")
    NORMAL = "normal", pgettext_lazy("batch status", "Normal")
    DISABLED = "disabled", _("Disabled")
    EXPIRED = "expired", _("Expired")
    USED_UP = "used_up", _("Used up")
    CANCELLED = "cancelled", pgettext_lazy("batch status", "Cancelled")


class CardStatus(models.TextChoices):
    UNUSED = "unused", _("Unused")
    USED = "used", _("Used")
    DISABLED = "disabled", _("Disabled")


class ListOutcome(models.TextChoices):
    """What became, or would become, of one line of a list of cards to disable."""

    TO_DISABLE = "to_disable", _("To be disabled")
    DISABLED = "disabled", _("Disabled")
    ALREADY = "already", _("Disabled already")
    USED = "used", _("Used, stays as it is")
    UNKNOWN = "unknown", _("No card has this code")
    NO_CODE = "no_code", _("Not a card code")
    TWICE = "twice", _("Same card as an earlier line")


class ExportFormat(models.TextChoices):
    TXT = "txt", _("TXT: one code a line")
    CSV = "csv", _("CSV: serial, code, status, expiry")
    XLSX = "xlsx", _("XLSX: the same as a workbook")
    PDF = "pdf", _("PDF: cards to print, with QR code")


class PrintLayout(models.TextChoices):
    A4_10 = "a4-10", _("A4, 10 cards a page (85 × 54 mm)")
    A4_24 = "a4-24", _("A4, 24 labels a page (70 × 37 mm)")
    ONE = "one", _("One large card a page (A5)")


class AuditAction(models.TextChoices):
    CREATE_BATCH = "create_batch", _("Batch created")
    IMPORT_BATCH = "import_batch", _("Batch imported")
    APPROVE_BATCH = "approve_batch", _("Batch approved")
    CANCEL_BATCH = "cancel_batch", _("Generating cancelled")
    ADD_CARDS = "add_cards", _("Cards added")
    DOWNLOAD = "download", _("Codes downloaded")
    REVEAL = "reveal", _("Code revealed")
    DISABLE_BATCH = "disable_batch", _("Batch disabled")
    ENABLE_BATCH = "enable_batch", _("Batch enabled")
    DISABLE_CARD = "disable_card", _("Card disabled")
    ENABLE_CARD = "enable_card", _("Card enabled")
    DISABLE_CARDS = "disable_cards", _("Cards disabled by list")
    REPLACE_CARD = "replace_card", _("Card replaced")
    EXTEND_BATCH = "extend_batch", _("Validity extended")
    REDEEM = "redeem", _("Card redeemed")
    RETURN_CARD = "return_card", _("Card returned")
    FIX_ORDER = "fix_order", _("Order changed by staff")
    TOP_UP = "top_up", _("Balance topped up")
    CORRECT_TOP_UP = "correct_top_up", _("Top-up corrected")
    DISABLE_MEMBER = "disable_member", _("Member disabled")
    ENABLE_MEMBER = "enable_member", _("Member enabled")
    INVITE_MEMBER = "invite_member", _("Member invited")
    LOOK_UP_LIST = "look_up_list", _("List of codes looked up")
    EXPORT_LIST = "export_list", _("List exported")
    CHANGE_CATALOGUE = "change_catalogue", _("Catalogue changed")
    CHANGE_MACHINE = "change_machine", _("Machine changed")
    CHANGE_ROLES = "change_roles", _("Staff roles changed")


class TryOutcome(models.TextChoices):
    """What a refused code met."""

    UNKNOWN = "unknown", _("Unknown code")
    DISABLED = "disabled", _("Disabled card")
    EXPIRED = "expired", _("Expired card")
    USED = "used", _("Card used by somebody else")
