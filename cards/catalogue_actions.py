"""Every write to the catalogue: lines, server models, operating systems and images.

What was sold is frozen in its batch and its order; these change what is sold from now on, and nothing else.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from accounts.models import User

from . import audit
from .choices import AuditAction
from .exceptions import AlreadyThere
from .models import Image, Line, OperatingSystem, ServerModel

M = TypeVar("M", bound=models.Model)


def save_line(*, line: Line, fields: dict[str, Any], actor: User | None, address: str | None = None) -> Line:
    """Add or change a line: `fields` are columns of Line. Raises AlreadyThere for a name that is taken."""
    return _save(line, fields, actor, address, taken=_("A line of this name is there already."))


def save_server_model(
    *, model: ServerModel, fields: dict[str, Any], actor: User | None, address: str | None = None
) -> ServerModel:
    return _save(model, fields, actor, address, taken=_("The line has a server model of this name already."))


def save_operating_system(
    *, system: OperatingSystem, fields: dict[str, Any], actor: User | None, address: str | None = None
) -> OperatingSystem:
    return _save(system, fields, actor, address, taken=_("This operating system is there already."))


def save_image(*, image: Image, fields: dict[str, Any], actor: User | None, address: str | None = None) -> Image:
    return _save(image, fields, actor, address, taken=_("The line has an image of this operating system already."))


def _save(row: M, fields: dict[str, Any], actor: User | None, address: str | None, *, taken: str) -> M:
    """Write the columns that differ, and one audit row with each one's value before and after."""
    new = row.pk is None
    changed = {name: value for name, value in fields.items() if new or getattr(row, name) != value}
    if not changed:
        return row
    before = {} if new else {name: _said(getattr(row, name)) for name in changed}
    for name, value in changed.items():
        setattr(row, name, value)
    try:
        with transaction.atomic():
            row.save(force_insert=new, update_fields=None if new else list(changed))
            audit.record(
                AuditAction.CHANGE_CATALOGUE,
                actor=actor,
                address=address,
                kind=row._meta.model_name,
                id=row.pk,
                name=str(row),
                change="added" if new else "changed",
                fields={name: [before.get(name), _said(value)] for name, value in changed.items()},
            )
    except IntegrityError as error:
        raise AlreadyThere(taken) from error
    return row


def _said(value: Any) -> Any:
    """A column's value as the audit trail keeps it."""
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return str(value) if isinstance(value, models.Model) else value
