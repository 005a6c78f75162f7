"""The nouns of the data plane, one per file."""

from sessions.models.channel import Channel
from sessions.models.file_operation import FileOperation
from sessions.models.finding import Coverage, Finding
from sessions.models.journal_position import JournalPosition
from sessions.models.receipt import Receipt
from sessions.models.recording import Recording
from sessions.models.review import Review
from sessions.models.search_look import SearchLook
from sessions.models.search_row import SearchRow
from sessions.models.ssh_session import SSHSession
from sessions.models.terminal_ticket import TerminalTicket
from sessions.models.transcript import Transcript, TranscriptEntry
from sessions.models.watch import ChatMessage, Kiosk, Watch

__all__ = [
    "Channel",
    "ChatMessage",
    "Coverage",
    "FileOperation",
    "Finding",
    "JournalPosition",
    "Kiosk",
    "Receipt",
    "Recording",
    "Review",
    "SSHSession",
    "SearchLook",
    "SearchRow",
    "TerminalTicket",
    "Transcript",
    "TranscriptEntry",
    "Watch",
]
