"""Two holes closed: a period without months passed the check (NULL >= 1 is not false), and the currency of a frozen
price was not frozen.

The trigger is made anew after the constraint: changing a constraint rebuilds the table on SQLite, which drops its
triggers. Every later migration of cards_batch has to do the same.
"""

from importlib import import_module

from django.db import migrations, models

FROZEN = (*import_module("cards.migrations.0002_frozen_rows").FROZEN, "currency")
OLD, NEW = (", ".join(f"{row}.{name}" for name in FROZEN) for row in ("OLD", "NEW"))
POSTGRES = f"""
DROP TRIGGER batch_frozen ON cards_batch;
CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch FOR EACH ROW
  WHEN (({OLD}) IS DISTINCT FROM ({NEW})) EXECUTE FUNCTION portal_refuse_change();
"""
CHANGED = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in FROZEN)
SQLITE = [
    "DROP TRIGGER IF EXISTS batch_frozen",
    f"CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch WHEN {CHANGED} "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_batch are frozen'); END",
]


def freeze(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for statement in [POSTGRES] if schema_editor.connection.vendor == "postgresql" else SQLITE:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("cards", "0002_frozen_rows")]
    operations = [
        migrations.RemoveConstraint(model_name="batch", name="batch_validity"),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=models.Q(("validity_kind", "date"), ("validity_months__isnull", True))
                | models.Q(("validity_kind", "period"), ("validity_months__gte", 1), ("validity_months__isnull", False)),
                name="batch_validity",
            ),
        ),
        migrations.RunPython(freeze, freeze),
    ]
