"""From a person who proved who they are to a live session: decision, row, recording, and only then the asset.

Each step commits before the next begins, and whatever fails ends the row with its reason: law 4 and law 1 in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from breakglass import clock, queries
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import ADMINISTRATORS
from breakglass.domain.policy import ChannelKind
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Asset, Grant
from breakglass.services import audit, credentials, notices
from breakglass.services.credentials import UpstreamCredential
from sessions import services
from sessions.gateway import legacy, pep, upstream
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.live import Facts, LiveSession
from sessions.gateway.names import Address, Identity
from sessions.gateway.pep import SessionAuthorization
from sessions.gateway.relay import printable
from sessions.models import SSHSession
from sessions.recording.recorder import Recorder, RecordingFailed
from sessions.recording.store import Store
from sessions.services import OpenForm, Totals, recordings
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.asset_leg import ClientLeg
    from sessions.gateway.books import Bookkeeper
    from sessions.gateway.callbacks import Visitor

END_OF = {
    RefusalCode.CANNOT_RECORD: EndReason.CANNOT_RECORD,
    RefusalCode.DATABASE_UNAVAILABLE: EndReason.LEASE_LOST,
}


def open_session(visitor: Visitor, identity: Identity, address: Address) -> tuple[LiveSession, str]:
    """A session that is connected, recorded and not yet relaying, and the banner to show. Raises Refused."""
    assert address.asset is not None
    authorization = pep.authorize(identity, address.asset, address.login)
    store = recordings.store()
    try:
        _check_space(store)
    except Refused as refused:
        pep.note_refusal(refused, actor=identity, asset=authorization.asset, login=authorization.login)
        raise
    form = _form(visitor, authorization)
    with borrowed_db():
        row = services.open_session(form, clock.now())
    grant = row.grant
    try:
        recorder = _record(store, row, authorization, grant, form)
        try:
            leg, connection = _dial(row, authorization)
        except Refused:
            recorder.marker("the asset was not reached")
            recorder.close()
            raise
    except Refused as refused:
        _give_up(visitor.gateway.clerk, row, refused, identity, authorization)
        raise
    facts, gateway = _facts(row, visitor, authorization, grant), visitor.gateway
    session = LiveSession(facts, authorization, recorder, visitor.leg, leg, gateway.clerk, gateway.room)
    connection.session = session
    session.company.begin()
    if not leg.is_active():
        session.end(EndReason.ASSET_CLOSED)
    return session, banner(row, authorization, grant, legacy.in_use(leg.agreed))


def _check_space(store: Store) -> None:
    try:
        store.prepare()
        store.check_space()
    except (RecordingFailed, OSError) as error:
        raise refuse(RefusalCode.CANNOT_RECORD, why=_why(error)) from error


def _why(error: RecordingFailed | OSError) -> str:
    """What the system says, without the names of our files."""
    cause = error.cause if isinstance(error, RecordingFailed) else error
    return cause.strerror or "its file can't be made"


def _form(visitor: Visitor, authorization: SessionAuthorization) -> OpenForm:
    return OpenForm(
        id=uuid4(),
        grant_id=authorization.grant_id,
        person_id=authorization.person_id,
        asset_id=authorization.asset_id,
        login=authorization.login,
        decision_id=authorization.decision_id,
        client_address=visitor.address,
        client_version=printable(visitor.leg.remote_version)[:255],
        factor=visitor.factor,
        gateway_id=visitor.gateway.id,
    )


def _facts(row: SSHSession, visitor: Visitor, authorization: SessionAuthorization, grant: Grant) -> Facts:
    return Facts(
        session_id=row.pk,
        label=row.label,
        person=authorization.username,
        asset=authorization.asset,
        login=authorization.login,
        address=visitor.address,
        output_limit=settings.BREAKGLASS.exec_record_bytes,
        escorts=queries.escorts_of(grant.playbook) if row.escort_needed else frozenset(),
    )


def _record(
    store: Store, row: SSHSession, authorization: SessionAuthorization, grant: Grant, form: OpenForm
) -> Recorder:
    header: dict[str, Any] = {
        "version": 2,
        "width": 80,
        "height": 24,
        "timestamp": int(row.opened_at.timestamp()),
        "title": f"{row.label} {authorization.username} to {authorization.login}@{authorization.asset}",
        "env": {"TERM": "xterm-256color"},
        "breakglass": {
            "session": str(row.pk),
            "label": row.label,
            "person": authorization.username,
            "asset": authorization.asset,
            "asset_id": str(authorization.asset_id),
            "login": authorization.login,
            "incident": grant.incident.label,
            "playbook": grant.playbook.slug,
            "digest": grant.playbook.digest,
            "grant": str(grant.pk),
            "decision": str(form.decision_id),
            "client": form.client_address,
            "gateway": form.gateway_id,
        },
    }
    try:
        path = store.open_path(row.pk)
        return Recorder(path, header, clock=clock, may_grow=lambda: store.reserve.is_whole)
    except RecordingFailed as error:
        raise refuse(RefusalCode.CANNOT_RECORD, why=_why(error)) from error


def _dial(row: SSHSession, authorization: SessionAuthorization) -> tuple[ClientLeg, upstream.AssetConnection]:
    to = authorization.destination
    with borrowed_db():
        credential = credentials.for_upstream(
            authorization.grant_id,
            authorization.asset_id,
            authorization.login,
            authorization.ends_at,
            clock.now(),
        )
    try:
        leg, connection, shown = upstream.dial(to, credential)
    except upstream.HostKeyChanged as changed:
        _alarm(row, credential, changed.shown)
        raise refuse(RefusalCode.HOST_KEY_CHANGED, asset=to.asset) from None
    try:
        with borrowed_db():
            address, old = f"{to.host}:{to.port}", legacy.in_use(leg.agreed)
            if not services.mark_live(row.pk, address, shown, clock.now(), old_algorithms=old):
                raise refuse(RefusalCode.SESSION_NOT_LIVE)
    except Refused:
        leg.bury()
        raise
    return leg, connection


def _alarm(row: SSHSession, credential: UpstreamCredential, shown: str) -> None:
    """A changed host key is an alarm, not a nuisance: the trail has it and the administrators are told."""
    now = clock.now()
    with borrowed_db(), transaction.atomic():
        asset = Asset.objects.get(pk=row.asset_id)
        pinned = list(asset.host_keys.values_list("fingerprint", flat=True))
        data = {"session": row.label, "shown": shown, "pinned": pinned, "login": credential.username}
        audit.append(AuditTag.HOST_KEY_ALARM, actor=row.person, subject=asset, now=now, data=data)
        notices.queue(
            queries.people_in([ADMINISTRATORS]),
            topic=f"session:{row.pk}",
            subject=f"Alarm: {asset.name} shows a host key that isn't registered",
            body=f"It showed {shown}. No credential was sent. Find out whether it was rebuilt or replaced.",
            path="/assets/",
            now=now,
        )


def _give_up(
    clerk: Bookkeeper,
    row: SSHSession,
    refused: Refused,
    identity: Identity,
    authorization: SessionAuthorization,
) -> None:
    """The row ends with the reason. A database that is away now has it later, from the clerk."""
    reason = END_OF.get(refused.refusal.code, EndReason.UPSTREAM_FAILED)
    pep.note_refusal(refused, actor=identity, asset=authorization.asset, login=authorization.login)
    now = clock.now()
    try:
        with borrowed_db():
            services.end_session(row.pk, reason, Totals(0, 0), now)
    except Refused:
        clerk.gave_up(row.pk, reason, now)


def banner(
    row: SSHSession, authorization: SessionAuthorization, grant: Grant, old: Sequence[str] = ()
) -> str:
    """Who, where, why, until when, and that it is recorded; the risk where old algorithms are in use."""
    person = f"{printable(grant.person.get_full_name())} ({authorization.username})"
    allowed = ", ".join(
        sorted(str(kind) for kind in ChannelKind if kind in authorization.obligations.channels)
    )
    lines = (
        f"Breakglass session {row.label}. It is recorded. It may be watched live.",
        f"  who    {person}",
        f"  where  {authorization.login}@{authorization.asset} ({allowed})",
        f"  why    {grant.incident.label}: {printable(grant.request.reason)}",
        f"  until  {authorization.ends_at:%Y-%m-%d %H:%M:%S} UTC; idle limit {authorization.idle_seconds // 60} min",
    )
    escorts = " or ".join(sorted(queries.escorts_of(grant.playbook)))
    escort = (
        (f"  escort {escorts}: it is held until one of them watches, and whenever none does",)
        if row.escort_needed
        else ()
    )
    risk = (f"  risk   old, weak algorithms between here and the asset: {', '.join(old)}",) if old else ()
    return "\n".join((*lines, *escort, *risk)) + "\n"
