"""A permission of its own for the last four characters of codes."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('cards', '0018_machines'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='card',
            options={'permissions': [('reveal_card', "Can see a card's code in full"), ('view_last4', "Can see the last four characters of a card's code"), ('replace_card', 'Can replace a card by a new code')], 'verbose_name': 'pickup card', 'verbose_name_plural': 'pickup cards'},
        ),
    ]
