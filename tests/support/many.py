"""A house with a past: thousands of ended grants with all that hangs on them, made in bulk.

The rows are those that the services leave behind, without their audit rows: enough for lists and figures, not for checks.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db.models import Max

from breakglass.domain.grants import GrantState
from breakglass.domain.requests import RequestState
from breakglass.models import (
    AccessRequest,
    Approval,
    Asset,
    Grant,
    GrantedAsset,
    Incident,
    Notice,
    Person,
    PlaybookVersion,
    RequestedAsset,
)
from sessions.models import Channel, FileOperation, Finding, Receipt, Recording, Review, SSHSession
from sessions.states import EndReason, RecordingState, ReviewState, ReviewVerdict, SessionState

BATCH = 2000
EVERY = timedelta(minutes=17)


def past(grants: int, now: datetime, *, reviews_due: int = 0) -> None:
    """`grants` ended grants of one session each, the newest an hour before `now`; the newest reviews are still due."""
    _Past(now, grants, reviews_due).write()


def present(count: int, now: datetime) -> None:
    """`count` open incidents with a pending request and a live session each, as many unseen notices and locks."""
    person, playbook = Person.objects.get(username="rob"), _playbook()
    asset = Asset.objects.get(name="hist-01")
    top = Incident.objects.aggregate(top=Max("number"))["top"] or 0
    incidents = Incident.objects.bulk_create(
        [
            Incident(number=top + 1 + index, title=f"Pump {index} stands", opened_by=person, opened_at=now)
            for index in range(count)
        ]
    )
    pending = AccessRequest.objects.bulk_create(
        [_plea(person, playbook, incident, now) for incident in incidents]
    )
    lived = AccessRequest.objects.bulk_create(
        [_plea(person, playbook, incident, now) for incident in incidents]
    )
    AccessRequest.objects.filter(pk__in=[plea.pk for plea in lived]).update(
        state=RequestState.APPROVED, decided_at=now
    )
    RequestedAsset.objects.bulk_create(
        [RequestedAsset(request=plea, asset=asset) for plea in pending + lived]
    )
    grants = Grant.objects.bulk_create(
        [
            Grant(
                request=plea, person=person, playbook=playbook, incident=plea.incident, logins=["operator"],
                state=GrantState.ACTIVE, minutes=30, issued_at=now, starts_at=now, ends_at=now + timedelta(minutes=30),
            )
            for plea in lived
        ]
    )  # fmt: skip
    GrantedAsset.objects.bulk_create([GrantedAsset(grant=grant, asset=asset) for grant in grants])
    sessions = SSHSession.objects.bulk_create([_session(grant, asset, now) for grant in grants])
    Recording.objects.bulk_create(
        [Recording(session=session, state=RecordingState.OPEN) for session in sessions]
    )
    Channel.objects.bulk_create(
        [Channel(session=session, number=0, kind="shell", opened_at=now) for session in sessions]
    )
    for who in ("rita", "rob", "ben", "vera", "otto", "admin"):
        told = Person.objects.get(username=who)
        Notice.objects.bulk_create(
            [
                Notice(person=told, topic="x", subject="Look", body="At this.", path="/", created_at=now)
                for _ in range(count)
            ]
        )  # fmt: skip


def _playbook() -> PlaybookVersion:
    return PlaybookVersion.objects.get(slug="historian-down", retired_at=None)


def _plea(person: Person, playbook: PlaybookVersion, incident: Incident, now: datetime) -> AccessRequest:
    number = (AccessRequest.objects.aggregate(top=Max("number"))["top"] or 0) + incident.number * 2
    return AccessRequest(
        number=number, requester=person, playbook=playbook, incident=incident, minutes=30, submitted_at=now,
        reason="The pump stands; look at its controller.", state=RequestState.PENDING,
        escalates_at=now + timedelta(minutes=5), lapses_at=now + timedelta(minutes=30),
    )  # fmt: skip


def _session(grant: Grant, asset: Asset, now: datetime) -> SSHSession:
    top = SSHSession.objects.aggregate(top=Max("number"))["top"] or 0
    return SSHSession(
        number=top + grant.incident.number, grant=grant, person=grant.person, asset=asset, login="operator",
        decision_id=uuid.uuid4(), client_address="192.0.2.7", client_version="SSH-2.0-OpenSSH_9.9", factor="totp:1",
        gateway_id="gw-1", state=SessionState.LIVE, opened_at=now, renewed_at=now,
    )  # fmt: skip


class _Past:
    def __init__(self, now: datetime, count: int, due: int) -> None:
        self.now, self.count, self.due = now, count, due
        self.person = Person.objects.get(username="rita")
        self.approver = Person.objects.get(username="ada")
        self.reviewer = Person.objects.get(username="vera")
        self.playbook = PlaybookVersion.objects.get(slug="historian-down", retired_at=None)
        self.asset = Asset.objects.get(name="hist-01")

    def write(self) -> None:
        self.incidents()
        self.requests()
        self.grants()
        self.sessions()
        self.beside()
        self.reviews()

    def at(self, index: int, minutes: float = 0) -> datetime:
        return self.now - timedelta(hours=1) - EVERY * (self.count - 1 - index) + timedelta(minutes=minutes)

    def incidents(self) -> None:
        top = Incident.objects.aggregate(top=Max("number"))["top"] or 0
        rows = [
            Incident(
                number=top + 1 + index,
                title=f"Trend {index} stopped",
                opened_by=self.person,
                opened_at=self.at(index, -5),
                closed_by=self.person,
                closed_at=self.at(index, 45),
            )
            for index in range(self.count)
        ]
        self.made_incidents = Incident.objects.bulk_create(rows, BATCH)

    def requests(self) -> None:
        top = AccessRequest.objects.aggregate(top=Max("number"))["top"] or 0
        rows = [
            AccessRequest(
                number=top + 1 + index,
                requester=self.person,
                playbook=self.playbook,
                incident=self.made_incidents[index],
                minutes=30,
                reason=f"Trend {index} has stopped; look at the service and restart it once.",
                state=RequestState.APPROVED,
                submitted_at=self.at(index, -3),
                escalates_at=self.at(index, 2),
                lapses_at=self.at(index, 27),
                decided_at=self.at(index),
            )
            for index in range(self.count)
        ]
        self.made_requests = AccessRequest.objects.bulk_create(rows, BATCH)
        RequestedAsset.objects.bulk_create(
            [RequestedAsset(request=request, asset=self.asset) for request in rows], BATCH
        )
        approvals = [
            Approval(
                request=request,
                person=self.approver,
                verdict="approved",
                comment="Go.",
                factor=f"many:{uuid.uuid4().hex[:24]}",
                decided_at=self.at(index),
            )
            for index, request in enumerate(rows)
        ]
        Approval.objects.bulk_create(approvals, BATCH)

    def grants(self) -> None:
        self.made_grants = [
            Grant(
                request=request,
                person=self.person,
                playbook=self.playbook,
                incident=request.incident,
                logins=["operator"],
                state=GrantState.RELEASED if index % 2 else GrantState.EXPIRED,
                minutes=30,
                issued_at=self.at(index),
                starts_at=self.at(index),
                ends_at=self.at(index, 30),
                ended_at=self.at(index, 30),
                reviewed_at=self.at(index, 90) if index < self.count - self.due else None,
            )
            for index, request in enumerate(self.made_requests)
        ]
        Grant.objects.bulk_create(self.made_grants, BATCH)
        GrantedAsset.objects.bulk_create(
            [GrantedAsset(grant=grant, asset=self.asset) for grant in self.made_grants], BATCH
        )

    def sessions(self) -> None:
        top = SSHSession.objects.aggregate(top=Max("number"))["top"] or 0
        self.made_sessions = [
            SSHSession(
                number=top + 1 + index,
                grant=grant,
                person=self.person,
                asset=self.asset,
                login="operator",
                decision_id=uuid.uuid4(),
                client_address="192.0.2.7",
                client_version="SSH-2.0-OpenSSH_9.9",
                factor="totp:1",
                gateway_id="gw-1",
                state=SessionState.ENDED,
                end_reason=EndReason.CLIENT_CLOSED,
                opened_at=self.at(index, 1),
                ended_at=self.at(index, 21),
                bytes_in=700,
                bytes_out=48_000,
            )
            for index, grant in enumerate(self.made_grants)
        ]
        SSHSession.objects.bulk_create(self.made_sessions, BATCH)

    def beside(self) -> None:
        """What each session leaves: recording, receipt, a shell and a command, a file, a notice."""
        recordings, receipts, channels, files, notices = [], [], [], [], []
        for index, session in enumerate(self.made_sessions):
            ended = self.at(index, 21)
            recordings.append(
                Recording(
                    session=session,
                    state=RecordingState.SEALED,
                    sha256=uuid.uuid4().hex * 2,
                    bytes=48_000,
                    seconds=1200,
                    sealed_at=ended,
                )
            )
            receipts.append(
                Receipt(
                    session=session,
                    cause=EndReason.CLIENT_CLOSED,
                    asked_at=ended,
                    cut_at=ended + timedelta(milliseconds=index % 50),
                    last_byte_at=ended,
                    client_gone_at=ended + timedelta(milliseconds=5 + index % 50),
                    target_gone_at=ended + timedelta(milliseconds=5 + index % 50),
                )
            )
            channels += [
                Channel(session=session, number=0, kind="shell", opened_at=self.at(index, 1)),
                Channel(
                    session=session,
                    number=1,
                    kind="exec",
                    command="systemctl restart historian",
                    exit_status=0,
                    opened_at=self.at(index, 2),
                    closed_at=self.at(index, 3),
                ),
            ]
            files.append(
                FileOperation(
                    session=session,
                    channel=2,
                    number=1,
                    verb="read",
                    path=f"/var/log/historian/{index}.log",
                    direction=FileOperation.Direction.DOWN,
                    bytes=4000,
                    outcome="done",
                    started_at=self.at(index, 3),
                    ended_at=self.at(index, 3),
                )
            )
            notices.append(
                Notice(
                    person=self.person,
                    topic=f"grant:{session.grant_id}",
                    subject="Your access has ended",
                    body="It was released.",
                    path="/",
                    created_at=ended,
                    sent_at=ended,
                    seen_at=ended,
                )
            )
        for rows in (recordings, receipts, channels, files, notices):
            type(rows[0]).objects.bulk_create(rows, BATCH)  # type: ignore[attr-defined]

    def reviews(self) -> None:
        """All signed but the newest, each with a finding that is closed or, every tenth, open."""
        signed = self.count - self.due
        made = [
            Review(
                grant=grant,
                state=ReviewState.SIGNED if index < signed else ReviewState.DUE,
                opened_at=self.at(index, 30),
                due_at=self.at(index, 30 + 24 * 60),
                reviewer=self.reviewer if index < signed else None,
                verdict=ReviewVerdict.IN_ORDER if index < signed else "",
                signed_at=self.at(index, 90) if index < signed else None,
            )
            for index, grant in enumerate(self.made_grants)
        ]
        Review.objects.bulk_create(made, BATCH)
        findings = [
            Finding(
                review=review,
                session=session,
                at_seconds=12.5,
                category="other",
                severity="low",
                text="A restart without a look at the log.",
                author=self.reviewer,
                created_at=self.at(index, 80),
                closed_at=self.at(index, 200) if index % 10 else None,
                closed_by=self.reviewer if index % 10 else None,
            )
            for index, (review, session) in enumerate(zip(made, self.made_sessions, strict=True))
        ]
        Finding.objects.bulk_create(findings, BATCH)
