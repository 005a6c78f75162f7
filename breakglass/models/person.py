from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin, UserManager
from django.core.validators import RegexValidator
from django.db import models

USERNAME = RegexValidator(
    r"\A[a-z][a-z0-9._-]{0,30}\Z",
    "A user name is 1 to 31 of a-z, 0-9, dot, underscore, hyphen; a letter first.",
)


class Person(AbstractBaseUser, PermissionsMixin):
    """A principal: one human being. Roles are groups. The id never changes; names may."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=31, unique=True, validators=[USERNAME])
    full_name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(null=True)
    vendor = models.CharField(
        max_length=120, blank=True, help_text="the company that sends them; empty for our own people"
    )

    objects = UserManager["Person"]()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["full_name"]

    class Meta:
        ordering = ("username",)

    def __str__(self) -> str:
        return self.username

    @property
    def is_vendor(self) -> bool:
        """Whether another company sends this person. A fact about them, whatever groups they are in."""
        return bool(self.vendor)

    def get_full_name(self) -> str:
        return self.full_name or self.username
