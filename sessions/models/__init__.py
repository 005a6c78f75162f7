"""The nouns of the data plane, one per file."""

from sessions.models.channel import Channel
from sessions.models.file_operation import FileOperation
from sessions.models.journal_position import JournalPosition
from sessions.models.receipt import Receipt
from sessions.models.recording import Recording
from sessions.models.review import Review
from sessions.models.ssh_session import SSHSession

__all__ = ["Channel", "FileOperation", "JournalPosition", "Receipt", "Recording", "Review", "SSHSession"]
