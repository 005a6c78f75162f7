"""The clerk: has on record what the relay saw, and writes it into the database, in order, in one thread of its own.

The relay hands over facts and goes on. Each is in the journal (journal.py) before anything else is done with it. When the
database is away the clerk keeps its place and tries again; what a crash leaves in the journal the next start writes down.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import Refusal, Refused
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.entries import Kind, sealed_name, to_json
from sessions.gateway.journal import Journal
from sessions.gateway.receipts import receipt_of
from sessions.gateway.relay import SplicedChannel
from sessions.gateway.writing import Away, Writer
from sessions.services import ChannelFacts, Cut, FileFacts, Totals
from sessions.services import journal as journals
from sessions.services.marks import Marked
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

RETRY = 1.0
MOST_ROWS = 500

log = logging.getLogger("breakglass.gateway")


class Bookkeeper:
    """One a gateway process. Every method but `stop` returns at once; `on_full` is called when the disk takes no more."""

    def __init__(self, gateway_id: Callable[[], str], on_full: Callable[[], None]) -> None:
        self._gateway_id = gateway_id
        self._journal = Journal(gateway_id, on_full)
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self._stopping = threading.Event()
        self._closing = threading.Event()

    def start(self) -> None:
        self._journal.open()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write down what is left, for so long at most; the rest is the next start's."""
        self._stopping.set()
        self._journal.wake()
        self._thread.join(seconds)
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(RETRY)

    # What there is to tell. ------------------------------------------------------------------------------

    def channel_started(self, session_id: UUID, channel: SplicedChannel) -> None:
        self._tell(Kind.CHANNEL, session=session_id, facts=channel_facts(channel))

    def channel_over(self, session_id: UUID, channel: SplicedChannel) -> None:
        facts, why = channel_facts(channel), channel.refused
        if why is None:
            self._tell(Kind.CHANNEL, session=session_id, facts=facts)
        else:
            self._tell(
                Kind.CHANNEL_REFUSED,
                session=session_id, facts=facts, code=why.code, message=why.message, at=clock.now(),
            )  # fmt: skip

    def file_done(self, session_id: UUID, facts: FileFacts) -> None:
        """Rows that come faster than the database takes them are written many at once."""
        self._tell(Kind.FILE, session=session_id, facts=facts)

    def refused(self, session_id: UUID, why: Refusal, data: dict[str, Any]) -> None:
        self._tell(
            Kind.REFUSED, session=session_id, code=why.code, message=why.message, data=data, at=clock.now()
        )

    def wrong_login(self, why: Refusal, name: str, asset: str, address: str, at: datetime) -> None:
        """Who caused it doesn't wait for its row, and can't tell by the time whether there is one. A name that was typed
        may be a password: it is encrypted."""
        self._tell(
            Kind.WRONG_LOGIN,
            code=why.code, message=why.message, name=sealed_name(name), asset=asset, address=address, at=at,
        )  # fmt: skip

    def marked(self, marked: Sequence[Marked]) -> None:
        """So far these recordings have come."""
        self._tell(Kind.MARKED, gateway=self._gateway_id(), marked=list(marked), at=clock.now())

    def note(self, tag: AuditTag, data: dict[str, Any]) -> None:
        """An audit row of this process's own."""
        subject = f"gateway:{self._gateway_id()}"
        self._tell(Kind.AUDIT, tag=tag, subject=subject, data=data, at=clock.now())

    def disk(self, tag: AuditTag, data: dict[str, Any], *, tell: bool) -> None:
        """An audit row of the recordings' disk; with `tell` the administrators have a notice."""
        self._tell(Kind.DISK, tag=tag, subject="disk:recordings", data=data, tell=tell, at=clock.now())

    def ended(self, session: LiveSession) -> None:
        recorded = session.recorded
        totals = Totals(session.bytes_in, session.bytes_out, recorded.size, recorded.sha256)
        reason, at = session.reason or EndReason.CRASHED, session.ended_at or clock.now()
        cut = receipt_of(session)
        self.gave_up(session.facts.session_id, reason, at, totals, cut)
        session.receipt_told(cut)

    def gave_up(
        self,
        session_id: UUID,
        reason: EndReason,
        at: datetime,
        totals: Totals | None = None,
        cut: Cut | None = None,
    ) -> None:
        """A session is over, or never began to relay."""
        self._tell(
            Kind.ENDED,
            session=session_id, reason=reason, totals=totals or Totals(0, 0), at=at, cut=cut or Cut(at),
        )  # fmt: skip

    def gone(self, session: LiveSession) -> None:
        """The person has gone too, after the end was written."""
        cut = receipt_of(session)
        self._tell(
            Kind.GONE, session=session.facts.session_id, client=cut.client_gone_at, target=cut.target_gone_at
        )

    def _tell(self, kind: Kind, **data: Any) -> None:
        self._journal.append(kind, to_json(data))

    # The clerk's own thread. -----------------------------------------------------------------------------

    def _run(self) -> None:
        is_away, writer = False, Writer(self._journal.path)
        while not self._closing.is_set():
            try:
                more = self._turn(writer)
            except (Away, OSError) as error:
                log.log(
                    logging.DEBUG if is_away else logging.WARNING,
                    "the books wait: %s",
                    error.__cause__ or error,
                )
                is_away = True
                self._closing.wait(RETRY)
                continue
            if is_away:
                log.warning("the books go on")
                is_away = False
            if not more:
                if self._stopping.is_set():
                    break
                self._journal.wait()
        self._close()

    def _turn(self, writer: Writer) -> bool:
        """Write down what goes together. False when there was nothing."""
        lines = self._journal.next(MOST_ROWS)
        if not lines:
            return False
        self._journal.sync()
        self._journal.written(writer.write(lines))
        return True

    def _close(self) -> None:
        path = self._journal.path
        if not self._journal.close():
            log.warning("journal %s isn't written whole; the next start goes on with it", path.name)
            return
        with (
            contextlib.suppress(Refused, DatabaseError),
            borrowed_db(),
        ):  # without its file the row does no harm
            journals.forget_journal(path.stem)


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
