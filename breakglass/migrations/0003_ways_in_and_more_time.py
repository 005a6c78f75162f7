import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("breakglass", "0002_protect_audit"),
    ]

    operations = [
        migrations.AddField(
            model_name="accessrequest",
            name="extends",
            field=models.ForeignKey(
                help_text="a plea for more time under this grant, not for a new one",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="extensions",
                to="breakglass.grant",
            ),
        ),
        migrations.AddField(
            model_name="asset",
            name="legacy_algorithms",
            field=models.BooleanField(
                default=False, help_text="speak old, weak SSH algorithms to this asset: a risk, shown as one"
            ),
        ),
        migrations.AddField(
            model_name="sshkey",
            name="counter",
            field=models.BigIntegerField(help_text="a FIDO key's last signature counter", null=True),
        ),
        migrations.AddField(
            model_name="sshkey",
            name="verify_required",
            field=models.BooleanField(
                default=False, help_text="a FIDO key that only counts with its PIN or biometric check"
            ),
        ),
        migrations.CreateModel(
            name="ConnectCode",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("sha256", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                ("used_from", models.GenericIPAddressField(null=True)),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="connect_codes",
                        to="breakglass.grant",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="connect_codes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("created_at",),
            },
        ),
        migrations.CreateModel(
            name="PersonCertificate",
            fields=[
                ("serial", models.BigIntegerField(primary_key=True, serialize=False)),
                ("key_type", models.CharField(max_length=64)),
                ("key_fingerprint", models.CharField(max_length=80)),
                (
                    "source_address",
                    models.GenericIPAddressField(help_text="the only address that it works from", null=True),
                ),
                ("valid_from", models.DateTimeField()),
                ("valid_until", models.DateTimeField()),
                ("issued_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(null=True)),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="certificates",
                        to="breakglass.grant",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="certificates",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("issued_at",),
            },
        ),
    ]
