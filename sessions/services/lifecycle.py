"""Sessions: opened, live, asked to end, ended. Each state change commits with its audit row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q

from breakglass import doorbell, later
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.grants import GrantState, state_at
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import Refusal, RefusalCode, refuse
from breakglass.domain.text import plain, storable
from breakglass.models import Asset, AuditHead, Grant, Person
from breakglass.queries import actor_of, escorts_of
from breakglass.services import audit, notices, step_up
from sessions.models import Channel, Recording, SSHSession
from sessions.queries import kill_needs_factor, session_for, thing_of_session
from sessions.services import alarms, escort, receipts
from sessions.services.receipts import Cut
from sessions.states import OPEN_STATES, EndReason, RecordingState, SessionState, may_become

_MAY_END = [state for state in SessionState if may_become(state, SessionState.ENDED)]


@dataclass(frozen=True)
class OpenForm:
    """What the gateway knows when it opens a session. `id` is chosen by the gateway: it names the recording too."""

    id: UUID
    grant_id: UUID
    person_id: UUID
    asset_id: UUID
    login: str
    decision_id: UUID
    client_address: str
    client_version: str
    factor: str
    gateway_id: str


@dataclass(frozen=True)
class Totals:
    """Bytes over all channels: from the person (`bytes_in`), and to the person (`bytes_out`); size and SHA-256 of the
    recording where its recorder lived to tell."""

    bytes_in: int
    bytes_out: int
    recorded: int = 0
    recorded_sha256: str = ""


@dataclass(frozen=True)
class ChannelFacts:
    """One channel as the gateway saw it. Written when it opens and again when it closes. Digests are SHA-256 hex."""

    number: int
    kind: str
    opened_at: datetime
    command: str = ""
    destination: str = ""
    refusal: str = ""
    closed_at: datetime | None = None
    exit_status: int | None = None
    exit_signal: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_err: int = 0
    sha256_in: str = ""
    sha256_out: str = ""
    sha256_err: str = ""


def open_session(form: OpenForm, now: datetime) -> SSHSession:
    """Commit that a session opens, before its recording and before the asset is dialled. Its grant comes with it, and
    the grant's person, playbook, incident and request.

    Raises Refused `grant_ended` when the grant ended since the decision, or its clock was not started;
    `grant_foreign`, `no_grant` and `login_not_in_grant` for what the grant isn't about.
    """
    with transaction.atomic():
        AuditHead.objects.select_for_update().get(id=1)
        # The playbook's text is long and needed by nobody here.
        grants = Grant.objects.select_related("person", "playbook", "incident", "request")
        grant = grants.defer("playbook__spec").get(pk=form.grant_id)
        asset = _fit_asset(grant, form, now)
        latest = SSHSession.objects.aggregate(latest=Max("number"))["latest"] or 0
        needs_escort = bool(escorts_of(grant.playbook))
        session = SSHSession.objects.create(
            number=latest + 1,
            state=SessionState.OPENING,
            opened_at=now,
            renewed_at=now,
            escort_needed=needs_escort,
            escort_missing_at=now if needs_escort else None,
            **asdict(form),
        )
        session.grant, session.asset = grant, asset
        Recording.objects.create(session=session, state=RecordingState.OPEN)
        data = {
            "session": session.label,
            "grant": form.grant_id,
            "decision": form.decision_id,
            "incident": grant.incident.label,
            "playbook": grant.playbook.slug,
            "digest": grant.playbook.digest,
            "asset": asset.name,
            "login": form.login,
            "client": form.client_address,
            "factor": form.factor,
        }
        audit.append(AuditTag.SESSION_OPENED, actor=grant.person, subject=session, now=now, data=data)
        if needs_escort:
            escort.call(session, now)
        alarms.at_use(session, now)
        doorbell.ring("sessions", session=str(session.pk))
        doorbell.ring(f"request:{grant.request_id}")
    return session


def _fit_asset(grant: Grant, form: OpenForm, now: datetime) -> Asset:
    """The asset, where the grant fits what the form says. Raises Refused."""
    state = state_at(grant.term, now)
    if state is not GrantState.ACTIVE:
        shown = "not begun" if state is GrantState.ARMED else str(state)
        raise refuse(RefusalCode.GRANT_ENDED, asset="this asset", state=shown, url="the playbook's page")
    if grant.person_id != form.person_id:
        raise refuse(RefusalCode.GRANT_FOREIGN)
    asset = grant.assets.filter(pk=form.asset_id).first()
    if asset is None:
        raise refuse(RefusalCode.NO_GRANT, asset="that asset", url="the playbook's page")
    if form.login not in grant.logins:
        raise refuse(RefusalCode.LOGIN_NOT_IN_GRANT, login=form.login, choices=", ".join(grant.logins))
    return asset


def mark_live(
    session_id: UUID, asset_address: str, host_key: str, now: datetime, *, old_algorithms: Sequence[str] = ()
) -> bool:
    """The asset let the gateway in. False when the session was ended meanwhile."""
    with transaction.atomic():
        opened = SSHSession.objects.filter(pk=session_id, state=SessionState.OPENING)
        if not opened.update(
            state=SessionState.LIVE, asset_address=asset_address, upstream_host_key=host_key, renewed_at=now
        ):
            return False
        session = SSHSession.objects.select_related("person").get(pk=session_id)
        data: dict[str, object] = {
            "session": session.label, "asset_address": asset_address, "host_key": host_key,
        }  # fmt: skip
        if old_algorithms:
            data["old_algorithms"] = list(old_algorithms)
        audit.append(AuditTag.SESSION_LIVE, actor=session.person, subject=session, now=now, data=data)
        doorbell.ring("sessions", session=str(session_id))
    return True


def save_channel(session_id: UUID, facts: ChannelFacts) -> None:
    """Keep what is known of a channel: called when it opens and when it closes."""
    values = {field.name: getattr(facts, field.name) for field in fields(facts) if field.name != "number"}
    values |= {"command": storable(facts.command), "destination": storable(facts.destination)[:280]}
    Channel.objects.update_or_create(session_id=session_id, number=facts.number, defaults=values)


def refuse_channel(session_id: UUID, facts: ChannelFacts, refusal: Refusal, now: datetime) -> None:
    """A channel was refused: its row and an audit row."""
    with transaction.atomic():
        save_channel(session_id, facts)
        session = SSHSession.objects.select_related("person").get(pk=session_id)
        data = {
            "session": session.label,
            "kind": facts.kind,
            "destination": facts.destination,
            "refusal": str(refusal.code),
            "message": refusal.message,
        }
        audit.append(AuditTag.CHANNEL_REFUSED, actor=session.person, subject=session, now=now, data=data)


def kill(
    session_id: UUID, person: Person, reason: str, now: datetime, answer: step_up.Answer = ""
) -> SSHSession:
    """Ask the gateway to end a session at once; asking again changes nothing and is no error.

    `answer`: the second factor, where the playbook asks for one (`kill_needs_factor`). Raises Refused `not_found`,
    `not_allowed`, `session_not_live`, and whatever a second factor is refused with.
    """
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.KILL_SESSION, thing_of_session(session)):
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb=Verb.KILL_SESSION, who=permissions.WHO_CAN[Verb.KILL_SESSION]
        )
    goes_on = SessionState(session.state) in OPEN_STATES and session.kill_requested_at is None
    if goes_on and kill_needs_factor(session):
        step_up.verify(person, "kill", session.pk, answer, now)
    with transaction.atomic():
        alive = SSHSession.objects.filter(pk=session_id, state__in=OPEN_STATES, kill_requested_at=None)
        if not alive.update(kill_requested_at=now, kill_requested_by=person):
            return _killed_already(session)
        data = {"session": session.label, "reason": plain(reason, 300)}
        audit.append(AuditTag.SESSION_KILLED, actor=person, subject=session, now=now, data=data)
        doorbell.ring(f"session:{session_id}", kill=True)
        doorbell.ring("sessions", session=str(session_id))
    session.kill_requested_at, session.kill_requested_by = now, person
    return session


def _killed_already(session: SSHSession) -> SSHSession:
    session.refresh_from_db()
    if SessionState(session.state) not in OPEN_STATES:
        raise refuse(RefusalCode.SESSION_NOT_LIVE)
    doorbell.ring(f"session:{session.pk}", kill=True)
    return session


def end_session(
    session_id: UUID, reason: EndReason, totals: Totals, now: datetime, cut: Cut | None = None
) -> bool:
    """Commit that the session ended, and why, with the receipt of it; its recording is sealed next. False when it had
    ended already. `cut`: what the gateway measured; without it the session is taken to have ended at `now`."""
    with transaction.atomic():
        # Whatever it moved to meanwhile: a session that goes live at this moment ends all the same.
        still = SSHSession.objects.filter(pk=session_id, state__in=_MAY_END)
        if not still.update(
            state=SessionState.ENDED,
            end_reason=reason,
            ended_at=now,
            bytes_in=totals.bytes_in,
            bytes_out=totals.bytes_out,
        ):
            return False
        rows = SSHSession.objects.select_related("person", "grant", "grant__playbook")
        session = rows.defer("grant__playbook__spec").get(pk=session_id)
        receipt = receipts.write(session, reason, cut or Cut(now))
        tag = AuditTag.SESSION_CRASHED if reason is EndReason.CRASHED else AuditTag.SESSION_ENDED
        data = {
            "session": session.label,
            "reason": str(reason),
            **asdict(totals),
            "receipt": receipts.facts_of(receipt),
        }
        actor = session.person if reason is EndReason.CLIENT_CLOSED else None
        audit.append(tag, actor=actor, subject=session, now=now, data=data)
        doorbell.ring("sessions", session=str(session_id))
        doorbell.ring(f"session:{session_id}", ended=str(reason))
        doorbell.ring(f"request:{session.grant.request_id}")
        later.ask("sessions.seal", str(session_id))
    return True


def recover_crashed(gateway_id: str, now: datetime) -> int:
    """At a gateway's start: sessions that it left open when it died are ended as crashed. Returns how many.

    Their recordings are recovered and sealed by the next sweep, or by `seal_recording`.
    """
    left = SSHSession.objects.filter(gateway_id=gateway_id, state__in=OPEN_STATES)
    count = 0
    for session in left.select_related("person"):
        Channel.objects.filter(session=session, closed_at=None).update(closed_at=now)
        totals, cut = Totals(session.bytes_in, session.bytes_out), receipts.left_by_a_crash(session.pk, now)
        if end_session(session.pk, EndReason.CRASHED, totals, now, cut):
            count += 1
            _tell_of_crash(session, now)
    return count


def recover_abandoned(base: str, living: Collection[str], now: datetime) -> int:
    """As `recover_crashed`, for the ids `base` and `base:N` that nobody bears any more: all but `living`."""
    ids = (
        SSHSession.objects.filter(
            Q(gateway_id=base) | Q(gateway_id__startswith=f"{base}:"), state__in=OPEN_STATES
        )
        .exclude(gateway_id__in=living)
        .order_by()
        .values_list("gateway_id", flat=True)
        .distinct()
    )
    return sum(recover_crashed(gateway_id, now) for gateway_id in list(ids))


def _tell_of_crash(session: SSHSession, now: datetime) -> None:
    with transaction.atomic():
        notices.queue(
            [session.person],
            topic=f"session:{session.pk}",
            subject=f"Session {session.label} was cut off: the gateway crashed",
            body="The gateway stopped and was started again. If your grant still runs, connect again.",
            path=f"/requests/{session.grant.request_id}/",
            now=now,
        )
