from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """How often and why a notice failed stands with each of its ways."""

    dependencies = [("breakglass", "0009_ways_of_notices")]

    operations = [
        migrations.RemoveField(model_name="notice", name="tries"),
        migrations.RemoveField(model_name="notice", name="next_try_at"),
        migrations.RemoveField(model_name="notice", name="problem"),
    ]
