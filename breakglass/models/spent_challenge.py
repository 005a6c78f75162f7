from __future__ import annotations

from django.db import models


class SpentChallenge(models.Model):
    """A passkey's challenge that was answered: no answer to it counts again. Kept while an answer could be in time."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    spent_at = models.DateTimeField(db_index=True)
