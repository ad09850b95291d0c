"""Counters for the dashboard: disabled cards per batch, kept by triggers; pick-ups per day; an index on their time."""

import django.db.models.deletion
from django.db import migrations, models

FILL = """
INSERT INTO cards_disabledcount (batch_id, cards)
SELECT batch_id, count(*) FROM cards_card WHERE status = 'disabled' GROUP BY batch_id
"""
POSTGRES = """
CREATE FUNCTION portal_count_disabled() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE change integer := CASE WHEN NEW.status = 'disabled' THEN 1 ELSE -1 END;
BEGIN
  INSERT INTO cards_disabledcount (batch_id, cards) VALUES (NEW.batch_id, greatest(change, 0))
  ON CONFLICT (batch_id) DO UPDATE SET cards = cards_disabledcount.cards + change;
  RETURN NULL;
END $$;
CREATE TRIGGER card_disabled_counted AFTER UPDATE ON cards_card FOR EACH ROW
  WHEN ((OLD.status = 'disabled') <> (NEW.status = 'disabled')) EXECUTE FUNCTION portal_count_disabled();
"""
POSTGRES_BACK = "DROP TRIGGER card_disabled_counted ON cards_card; DROP FUNCTION portal_count_disabled;"
SQLITE = """
CREATE TRIGGER card_disabled_counted AFTER UPDATE ON cards_card
WHEN (OLD.status = 'disabled') <> (NEW.status = 'disabled')
BEGIN
  INSERT OR IGNORE INTO cards_disabledcount (batch_id, cards) VALUES (NEW.batch_id, 0);
  UPDATE cards_disabledcount SET cards = cards + CASE WHEN NEW.status = 'disabled' THEN 1 ELSE -1 END
  WHERE batch_id = NEW.batch_id;
END
"""


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute(POSTGRES if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backwards(apps, schema_editor):
    on_postgres = schema_editor.connection.vendor == "postgresql"
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(POSTGRES_BACK if on_postgres else "DROP TRIGGER IF EXISTS card_disabled_counted")


class Migration(migrations.Migration):
    dependencies = [("cards", "0011_more_audit_actions")]
    operations = [
        migrations.CreateModel(
            name="DisabledCount",
            fields=[
                (
                    "batch",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="disabled_count",
                        serialize=False,
                        to="cards.batch",
                    ),
                ),
                ("cards", models.IntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("cards__gte", 0)), name="disabledcount_not_negative")
                ],
            },
        ),
        migrations.CreateModel(
            name="UseDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "product_type",
                    models.CharField(
                        choices=[
                            ("cloud_server", "Cloud server"),
                            ("virtual_host", "Virtual host"),
                            ("bare_metal", "Bare metal"),
                        ],
                        max_length=16,
                    ),
                ),
                ("used", models.PositiveIntegerField()),
                (
                    "line",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="cards.line",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("day", "product_type", "line"), name="useday_unique")
                ],
            },
        ),
        migrations.AddIndex("carduse", models.Index(fields=["used_at"], name="carduse_used_at")),
        migrations.RunPython(forwards, backwards),
    ]
