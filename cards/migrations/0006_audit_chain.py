"""The audit trail is signed and chained: a mark on each event, a table of links, the chain's head.

Events written before get their marks here, with the keys of the process that migrates. The trail's trigger is lifted
for that and made anew at the end; the links have one of their own.
"""

from importlib import import_module

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

POSTGRES = """
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON cards_auditevent FOR EACH ROW EXECUTE FUNCTION portal_refuse_change();
"""
SEALS_POSTGRES = """
CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE ON cards_auditseal FOR EACH ROW EXECUTE FUNCTION portal_refuse_change();
"""
SQLITE = (
    "CREATE TRIGGER {name}_append_only BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'rows of {table} are frozen'); END"
)


def run(schema_editor, on_postgres, on_sqlite):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(on_postgres if schema_editor.connection.vendor == "postgresql" else on_sqlite)


def lift(apps, schema_editor):
    run(
        schema_editor,
        "DROP TRIGGER IF EXISTS audit_append_only ON cards_auditevent",
        "DROP TRIGGER IF EXISTS audit_append_only",
    )


def freeze_events(apps, schema_editor):
    run(schema_editor, POSTGRES, SQLITE.format(name="audit", table="cards_auditevent"))


def freeze_links(apps, schema_editor):
    run(schema_editor, SEALS_POSTGRES, SQLITE.format(name="seal", table="cards_auditseal"))


def sign(apps, schema_editor):
    """Give the events of before their marks."""
    audit = import_module("cards.audit")
    events = apps.get_model("cards", "AuditEvent").objects.filter(mark=None)
    for event in events.iterator():
        event.mark = audit.mark_of(event, audit.os.urandom(audit.SALT))
        event.save(update_fields=["mark"])


class Migration(migrations.Migration):
    dependencies = [
        ("cards", "0005_generation_started"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(lift, freeze_events),
        migrations.AddField("auditevent", "mark", models.BinaryField(max_length=40, null=True)),
        migrations.AlterField(
            model_name="auditevent",
            name="actor",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="batch",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="audit_events",
                to="cards.batch",
            ),
        ),
        migrations.AddIndex("auditevent", models.Index(fields=["actor", "id"], name="audit_actor")),
        migrations.AddIndex("auditevent", models.Index(fields=["batch", "id"], name="audit_batch")),
        migrations.AddIndex("auditevent", models.Index(fields=["action", "id"], name="audit_action")),
        migrations.AddIndex("auditevent", models.Index(fields=["at"], name="audit_at")),
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("position", models.PositiveBigIntegerField(default=0)),
                ("seal", models.BinaryField(max_length=32)),
                ("key_id", models.CharField(blank=True, max_length=64)),
                ("mark", models.BinaryField(max_length=32)),
                ("horizon", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="audit_head_is_one")],
            },
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("position", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("seal", models.BinaryField(max_length=32)),
                ("key_id", models.CharField(max_length=64)),
                ("sealed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "event",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="seal", to="cards.auditevent"
                    ),
                ),
            ],
            options={"verbose_name": "audit seal", "ordering": ["position"]},
        ),
        migrations.RunPython(sign, migrations.RunPython.noop),
        migrations.AlterField("auditevent", "mark", models.BinaryField(max_length=40)),
        migrations.RunPython(freeze_events, lift),
        migrations.RunPython(freeze_links, migrations.RunPython.noop),
    ]
