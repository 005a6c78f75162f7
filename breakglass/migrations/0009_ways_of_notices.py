from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def under_way(apps: Any, schema_editor: Any) -> None:
    """What waits for its mail still gets one."""
    delivery = apps.get_model("breakglass", "NoticeDelivery")
    waiting = apps.get_model("breakglass", "Notice").objects.filter(sent_at=None, next_try_at__isnull=False)
    delivery.objects.bulk_create(
        delivery(notice=row, tries=row.tries, next_try_at=row.next_try_at, problem=row.problem)
        for row in waiting.exclude(person__email="")
    )


def without_a_person(apps: Any, schema_editor: Any) -> None:
    """On the way back: what was sent the house's own ways, to nobody in particular, has no place in the table before."""
    apps.get_model("breakglass", "Notice").objects.filter(person=None).delete()
    if schema_editor.connection.vendor == "postgresql":
        # Checks that wait for the end of the transaction would keep the table from being altered in it.
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        schema_editor.execute("SET CONSTRAINTS ALL DEFERRED")


class Migration(migrations.Migration):
    dependencies = [("breakglass", "0008_spent_challenges")]

    operations = [
        migrations.AlterField(
            model_name="notice",
            name="person",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notices",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="noticedelivery",
            index=models.Index(
                condition=models.Q(("next_try_at__isnull", False), ("sent_at", None)),
                fields=["next_try_at"],
                name="delivery_due",
            ),
        ),
        migrations.RunPython(under_way, without_a_person),
    ]
