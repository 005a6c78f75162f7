from __future__ import annotations

from typing import ClassVar

from django.db import models

from sessions.models.recording import Recording
from sessions.models.ssh_session import SSHSession


class Transcript(models.Model):
    """That a recording was rendered through a terminal emulator, by which version of the renderer, and how that went."""

    recording = models.OneToOneField(Recording, on_delete=models.CASCADE, related_name="transcript")
    version = models.PositiveIntegerField()
    rendered_at = models.DateTimeField()
    indexed_at = models.DateTimeField(null=True)
    lines = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=300, blank=True)


class TranscriptEntry(models.Model):
    """A command or a named span of a session, on the recording's clock (seconds)."""

    session = models.ForeignKey(SSHSession, on_delete=models.CASCADE, related_name="transcript_entries")
    channel = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, help_text="command, screen (a full-screen program) or output")
    exact = models.BooleanField(help_text="known from the protocol, not inferred from the screen")
    began = models.FloatField()
    ended = models.FloatField(null=True)
    text = models.TextField(help_text="the command, or the program's name")
    output = models.TextField(blank=True, help_text="what it showed, as rendered; cut at a bound")
    line_times: models.JSONField[list[float], list[float]] = models.JSONField(
        default=list, help_text="when each line of the output began, in seconds of the recording"
    )
    output_cut = models.BooleanField(default=False)
    exit_status = models.IntegerField(null=True)

    class Meta:
        ordering = ("began", "pk")
        indexes: ClassVar = [models.Index(fields=("session", "began"), name="transcript_of_session")]

    @property
    def lines(self) -> list[tuple[float, str]]:
        """Its output, each line with the second at which it began."""
        if not self.output and not self.line_times:
            return []
        texts = self.output.split("\n")
        times = [*self.line_times, *[self.began] * (len(texts) - len(self.line_times))]
        return list(zip(times, texts, strict=False))
