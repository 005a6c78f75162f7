import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("breakglass", "0011_found_quickly"),
        ("gateway", "0007_found_quickly"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchLook",
            fields=[
                (
                    "person",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("first_text", models.CharField(max_length=200)),
                ("text", models.CharField(max_length=200)),
                ("filters", models.JSONField(default=dict)),
                (
                    "sessions",
                    models.JSONField(
                        default=list, help_text="labels of other people's sessions that were shown, in order"
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["seen_at"], name="look_by_time")],
            },
        ),
    ]
