from __future__ import annotations

from typing import ClassVar

from django.db import models

from sessions.models.ssh_session import SSHSession


class FileOperation(models.Model):
    """One thing done to a file through a session: by sftp, or by scp or rsync as a command.

    `bytes` and `sha256` are of what was moved, in the order in which it was moved; `sha256` is empty where bytes were
    moved out of order or nothing was. `outcome` is `done`, the asset's refusal in words, or the broker's refusal code.
    """

    class Direction(models.TextChoices):
        UP = "up", "to the asset"
        DOWN = "down", "from the asset"
        NONE = "none", "nothing moved"

    session = models.ForeignKey(SSHSession, on_delete=models.PROTECT, related_name="file_operations")
    channel = models.PositiveIntegerField(help_text="the channel's number in its session")
    number = models.PositiveIntegerField(help_text="counts up in the channel")
    verb = models.CharField(max_length=24, help_text="read, write, append, list, rename, remove, ...")
    path = models.TextField()
    target = models.TextField(blank=True, help_text="the other path of a rename or link")
    direction = models.CharField(max_length=4, choices=Direction.choices)
    bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=120)
    kept = models.CharField(max_length=120, blank=True, help_text="the stored copy's name, where one is kept")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()

    @property
    def label(self) -> str:
        """As the recording names it: the channel's number and its own."""
        return f"{self.channel}.{self.number}"

    class Meta:
        ordering = ("session", "channel", "number")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("session", "channel", "number"), name="file_operation_number_once"
            )
        ]
