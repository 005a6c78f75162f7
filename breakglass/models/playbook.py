from __future__ import annotations

from typing import Any

from django.db import models


class PlaybookVersion(models.Model):
    """One immutable version of a playbook. Requests pin its digest.

    `spec` is the validated content of the YAML file as `playbooks.schema` defines it; `digest` is the SHA-256 of its
    canonical JSON.
    """

    slug = models.SlugField(max_length=64)
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=120)
    spec: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField()
    published_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("slug", "-version")
        constraints = (
            models.UniqueConstraint(fields=("slug", "version"), name="playbook_version_once"),
            models.UniqueConstraint(
                fields=("slug",), condition=models.Q(retired_at=None), name="playbook_one_current_version"
            ),
        )

    def __str__(self) -> str:
        return f"{self.slug} v{self.version}"
