import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="FileOperation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.PositiveIntegerField(help_text="the channel's number in its session")),
                ("number", models.PositiveIntegerField(help_text="counts up in the channel")),
                (
                    "verb",
                    models.CharField(
                        help_text="read, write, append, list, rename, remove, ...", max_length=24
                    ),
                ),
                ("path", models.TextField()),
                ("target", models.TextField(blank=True, help_text="the other path of a rename or link")),
                (
                    "direction",
                    models.CharField(
                        choices=[
                            ("up", "to the asset"),
                            ("down", "from the asset"),
                            ("none", "nothing moved"),
                        ],
                        max_length=4,
                    ),
                ),
                ("bytes", models.BigIntegerField(default=0)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("outcome", models.CharField(max_length=120)),
                (
                    "kept",
                    models.CharField(
                        blank=True, help_text="the stored copy's name, where one is kept", max_length=120
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="file_operations",
                        to="gateway.sshsession",
                    ),
                ),
            ],
            options={
                "ordering": ("session", "channel", "number"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("session", "channel", "number"), name="file_operation_number_once"
                    )
                ],
            },
        ),
    ]
