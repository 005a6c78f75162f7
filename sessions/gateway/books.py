"""The clerk: writes what the relay saw into the database, in order, in one thread of its own.

The relay hands over facts and goes on. When the database is away the clerk keeps its place and tries again; what a
crash loses is recovered from the recording and by `recover_crashed` at the next start.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.services import audit
from sessions import services
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.receipts import receipt_of
from sessions.gateway.relay import SplicedChannel
from sessions.models import SSHSession
from sessions.services import ChannelFacts, Cut, FileFacts, Totals
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

RETRY = 1.0
MOST_ROWS = 500
Entry = Callable[[], None]

log = logging.getLogger("breakglass.gateway")


class Bookkeeper:
    """One a gateway process. Every method returns at once."""

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self._closing = threading.Event()
        self._files: list[tuple[UUID, FileFacts]] = []
        self._files_lock = threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write down what is left, for so long at most."""
        self._entries.put(None)
        self._thread.join(seconds)
        self._closing.set()

    def channel_started(self, session_id: UUID, channel: SplicedChannel) -> None:
        facts = channel_facts(channel)
        self._entries.put(lambda: services.save_channel(session_id, facts))

    def channel_over(self, session_id: UUID, channel: SplicedChannel) -> None:
        facts = channel_facts(channel)
        refused, now = channel.refused, clock.now()
        if refused is None:
            self._entries.put(lambda: services.save_channel(session_id, facts))
        else:
            self._entries.put(lambda: services.refuse_channel(session_id, facts, refused, now))

    def file_done(self, session_id: UUID, facts: FileFacts) -> None:
        """Rows that come faster than the database takes them are written many at once."""
        with self._files_lock:
            self._files.append((session_id, facts))
            if len(self._files) == 1:
                self._entries.put(self._write_files)

    def _write_files(self) -> None:
        while rows := self._first_files():
            try:
                services.save_file_operations(rows)
            except (OperationalError, InterfaceError):
                raise  # the database is away: the same rows are tried again
            except DatabaseError:
                self._drop_files(len(rows))
                raise
            self._drop_files(len(rows))

    def _first_files(self) -> list[tuple[UUID, FileFacts]]:
        with self._files_lock:
            return self._files[:MOST_ROWS]

    def _drop_files(self, count: int) -> None:
        with self._files_lock:
            del self._files[:count]

    def refused(self, session_id: UUID, why: Refusal, data: dict[str, Any]) -> None:
        now = clock.now()
        self._entries.put(lambda: _audit_refusal(session_id, why, data, now))

    def later(self, entry: Entry) -> None:
        """Write this when its turn comes: who caused it doesn't wait for it, and can't tell by the time what it was."""
        self._entries.put(entry)

    def ended(self, session: LiveSession) -> None:
        recorded = session.recorded
        totals = Totals(session.bytes_in, session.bytes_out, recorded.size, recorded.sha256)
        session_id, reason = session.facts.session_id, session.reason or EndReason.CRASHED
        now = session.ended_at or clock.now()
        self._entries.put(lambda: _end(session_id, reason, totals, now, session.receipt()))

    def gone(self, session: LiveSession) -> None:
        """The person has gone too, after the end was written."""
        session_id, cut = session.facts.session_id, receipt_of(session)
        self._entries.put(lambda: _complete(session_id, cut.client_gone_at, cut.target_gone_at))

    def _run(self) -> None:
        while (entry := self._entries.get()) is not None:
            while not self._write(entry) and not self._closing.wait(RETRY):
                pass

    @staticmethod
    def _write(entry: Entry) -> bool:
        """True when it is written, or never can be; False when the database was away and it must be tried again."""
        try:
            with borrowed_db():
                entry()
        except Refused as refused:
            if refused.refusal.code is RefusalCode.DATABASE_UNAVAILABLE:
                log.warning("the books wait: %s", refused.__cause__)
                return False
            log.error("an entry was refused: %s", refused)
        except DatabaseError:
            log.critical("an entry can't be written, now or ever", exc_info=True)
        return True


def channel_facts(channel: SplicedChannel) -> ChannelFacts:
    return ChannelFacts(
        number=channel.number,
        kind=str(channel.kind) if channel.kind else "session",
        opened_at=channel.opened_at,
        command=channel.command,
        destination=channel.destination,
        refusal=str(channel.refused.code) if channel.refused else "",
        closed_at=channel.closed_at,
        exit_status=channel.exit_status,
        exit_signal=channel.exit_signal,
        bytes_in=channel.traffic_in.count,
        bytes_out=channel.traffic_out.count,
        bytes_err=channel.traffic_err.count,
        sha256_in="" if channel.pty else channel.traffic_in.sha256,
        sha256_out=channel.traffic_out.sha256,
        sha256_err=channel.traffic_err.sha256,
    )


def _audit_refusal(session_id: UUID, why: Refusal, data: dict[str, Any], now: Any) -> None:
    with transaction.atomic():
        session = SSHSession.objects.select_related("person").get(pk=session_id)
        facts = {"session": session.label, "refusal": str(why.code), "message": why.message, **data}
        audit.append(AuditTag.CHANNEL_REFUSED, actor=session.person, subject=session, now=now, data=facts)


def _end(session_id: UUID, reason: EndReason, totals: Totals, now: datetime, cut: Cut) -> None:
    services.end_session(session_id, reason, totals, now, cut)


def _complete(session_id: UUID, client_gone_at: datetime | None, target_gone_at: datetime | None) -> None:
    services.complete_receipt(session_id, client_gone_at, target_gone_at)
