from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models

ASSET_NAME = RegexValidator(
    r"\A[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z", "An asset name is 1 to 63 of a-z, 0-9, dot, hyphen."
)
LOGIN_NAME = RegexValidator(
    r"\A[A-Za-z_][A-Za-z0-9._-]{0,31}\Z", "A login is 1 to 32 plain letters, digits, . _ -"
)


class Asset(models.Model):
    """A machine that can be reached. Grants bind to `id`, never to the name."""

    class Kind(models.TextChoices):
        HISTORIAN = "historian"
        HMI = "hmi", "HMI"
        ENGINEERING = "engineering", "engineering workstation"
        NETWORK = "network", "network device"
        BUILDING = "building", "building management"
        GATEWAY = "gateway", "substation gateway"
        BACKUP = "backup", "backup server"
        SERVER = "server"
        DIRECTORY = "directory", "domain controller"
        OTHER = "other"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[ASSET_NAME])
    title = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.OTHER)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=22)
    active = models.BooleanField(default=True)
    owner = models.CharField(max_length=120, blank=True)
    legacy_algorithms = models.BooleanField(
        default=False, help_text="speak old, weak SSH algorithms to this asset: a risk, shown as one"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class AssetHostKey(models.Model):
    """A host key pinned at registration. There is no trust on first use."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="host_keys")
    type = models.CharField(max_length=64)
    blob = models.BinaryField()
    fingerprint = models.CharField(max_length=80)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("asset", "fingerprint"), name="host_key_once_an_asset"),
        )


class AssetLogin(models.Model):
    """An account name on an asset and how the gateway gets in as it. `secret` is ciphertext, seen by no person."""

    class Method(models.TextChoices):
        CERTIFICATE = "certificate", "certificate of the broker's CA"
        PASSWORD = "password", "vaulted password"
        KEY = "key", "vaulted key"

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="logins")
    name = models.CharField(max_length=32, validators=[LOGIN_NAME])
    method = models.CharField(max_length=12, choices=Method.choices)
    secret = models.BinaryField(default=b"")
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("asset", "name"), name="login_once_an_asset")
        ]
