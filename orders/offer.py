"""What a card offers: the systems that can be chosen, what each costs extra, and all that a preview says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from cards import catalog
from cards.choices import OSFamily, WindowsPolicy
from cards.models import Batch, Card, Image, OperatingSystem

from .exceptions import ImageNotOffered


@dataclass(frozen=True)
class OSChoice:
    image_id: int
    label: str
    family: str
    surcharge: Decimal  # in the batch's currency, for the whole term


@dataclass(frozen=True)
class Preview:
    """What a card is good for; nothing is spent by looking."""

    last4: str
    product_type: str
    name: str
    line: str
    spec: list[tuple[str, str]]
    term_months: int
    last_day: datetime
    needs_os: bool
    choices: list[OSChoice]
    currency: str
    windows_note: str


def preview_of(card: Card) -> Preview:
    """The card with its batch and line fetched."""
    batch = card.batch
    product = catalog.product_of(batch.product_type)
    return Preview(
        last4=card.last4,
        product_type=batch.product_type,
        name=batch.name,
        line=str(batch.line),
        spec=catalog.describe(batch.product_type, batch.spec),
        term_months=batch.term_months,
        last_day=batch.last_day,
        needs_os=product.needs_os,
        choices=[choice_of(image, batch) for image in offered(batch)] if product.needs_os else [],
        currency=batch.currency,
        windows_note=windows_note(batch) if product.needs_os else "",
    )


def offered(batch: Batch) -> QuerySet[Image]:
    images = Image.objects.filter(line_id=batch.line_id, active=True).select_related("operating_system")
    if batch.windows_policy == WindowsPolicy.NOT_OFFERED:
        images = images.exclude(operating_system__family=OSFamily.WINDOWS)
    return images


def choice_of(image: Image, batch: Batch) -> OSChoice:
    system = image.operating_system
    return OSChoice(image.pk, str(system), system.family, surcharge_of(image, batch))


def surcharge_of(image: Image, batch: Batch) -> Decimal:
    windows = image.operating_system.family == OSFamily.WINDOWS
    pays = batch.windows_policy == WindowsPolicy.MEMBER_PAYS
    return batch.windows_surcharge if windows and pays else Decimal(0)


def windows_note(batch: Batch) -> str:
    if batch.windows_policy == WindowsPolicy.NOT_OFFERED:
        return _("This card opens Linux systems only.")
    if batch.windows_policy == WindowsPolicy.MEMBER_PAYS and batch.windows_surcharge:
        return _("Windows costs extra on this line; the difference is taken from the balance.")
    return ""


_CHOSEN = """
SELECT image.id, image.reference, system.name, system.version, system.family
FROM cards_image image JOIN cards_operatingsystem system ON system.id = image.operating_system_id
WHERE image.id = %s AND image.line_id = %s AND image.active
"""


def chosen_image(batch: Batch, image_id: int | None) -> Image | None:
    """The image, still offered at this moment; a plain statement, as in `cards.actions.use_card`."""
    if not catalog.product_of(batch.product_type).needs_os:
        return None
    row = None
    if image_id is not None and 0 < image_id < 2**63:
        with connection.cursor() as cursor:
            cursor.execute(_CHOSEN, [image_id, batch.line_id])
            row = cursor.fetchone()
    if row is None or (row[4] == OSFamily.WINDOWS and batch.windows_policy == WindowsPolicy.NOT_OFFERED):
        raise ImageNotOffered
    system = OperatingSystem(name=row[2], version=row[3], family=row[4])
    return Image(pk=row[0], line_id=batch.line_id, reference=row[1], operating_system=system)
