"""Reads for reviews: the queue, what was run under a grant beside its runbook, findings. Each asks as often for many rows as for one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Case, F, Q, QuerySet, Value, When

from breakglass.domain.text import storable, visible
from breakglass.models import AccessRequest, Approval, Grant, GrantedAsset, Person
from breakglass.queries import spec_of
from sessions import planned
from sessions.models import Channel, Coverage, Finding, Review, SSHSession, TranscriptEntry
from sessions.planned import Comparison, Run
from sessions.queries import reviews, reviews_to_sign
from sessions.states import ReviewState, Severity

MOST_RUNS = 2000
LONGEST_COMMAND = 500
SEVEREST_FIRST = [Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW]


def queue(person: Person, which: str) -> QuerySet[Review]:
    """`mine`: what this person could sign; `due`: all that is open, the earliest due first; `signed`: the newest first."""
    if which == "signed":
        return reviews().filter(state=ReviewState.SIGNED).order_by("-signed_at", "-pk")
    if which == "mine":
        return reviews_to_sign(person).order_by("due_at", "pk")
    return reviews().filter(state=ReviewState.DUE).order_by("due_at", "pk")


def begun_by(rows: Sequence[Review]) -> dict[int, list[Person]]:
    """Who has watched, or written a finding, for which of these reviews."""
    grants = {row.grant_id: row.pk for row in rows}
    seen = Coverage.objects.filter(session__grant__in=list(grants)).values_list("session__grant", "person")
    wrote = Finding.objects.filter(review__in=rows, withdrawn_at=None).values_list("review__grant", "author")
    pairs = {(grants[grant], person) for grant, person in [*seen, *wrote]}
    people = {person.pk: person for person in Person.objects.filter(pk__in={who for _, who in pairs})}
    found: dict[int, list[Person]] = {}
    for review, who in sorted(pairs, key=str):
        found.setdefault(review, []).append(people[who])
    return found


def overrides_of(grants: Sequence[UUID]) -> set[UUID]:
    """The grants on which, or on more time for which, a supervisor decided alone."""
    deciding = Q(request__is_override=True) | Q(extensions__is_override=True)
    return set(Grant.objects.filter(deciding, pk__in=grants).values_list("pk", flat=True))


def deciders(rows: Sequence[Review]) -> dict[int, set[UUID]]:
    """Who may not judge which of these: whoever asked, and whoever decided."""
    requests = {row.grant.request_id: row for row in rows}
    grants = {row.grant_id: row for row in rows}
    found = {row.pk: {row.grant.person_id} for row in rows}
    # As a subquery: joined, the database would read every approval there ever was.
    pleas = AccessRequest.objects.filter(Q(pk__in=list(requests)) | Q(extends__in=list(grants))).order_by()
    decided = Approval.objects.filter(request__in=pleas.values("pk")).order_by()
    for request, extends, who in decided.values_list("request", "request__extends", "person"):
        row = requests.get(request) or grants[extends]
        found[row.pk].add(who)
    return found


def assets_of(grants: Sequence[UUID]) -> dict[UUID, list[str]]:
    """The names of the assets of each of these grants."""
    found: dict[UUID, list[str]] = {}
    rows = GrantedAsset.objects.filter(grant__in=grants).order_by("asset__name")
    for grant, name in rows.values_list("grant", "asset__name"):
        found.setdefault(grant, []).append(name)
    return found


def comparison(grant: Grant, sessions: Sequence[SSHSession]) -> Comparison:
    """The planned steps of the pinned playbook beside what was run under the grant."""
    spec = spec_of(grant.playbook)
    steps = planned.steps_of(spec.runbook, [*spec.logins, *spec.assets])
    return planned.compare(steps, runs_of(sessions))


def runs_of(sessions: Sequence[SSHSession]) -> list[Run]:
    """What was run, in order: as the transcript knows it; from the protocol alone where there is no transcript."""
    by_id = {session.pk: session for session in sessions}
    entries = TranscriptEntry.objects.filter(session__in=list(by_id), kind="command").order_by(
        "session", "began"
    )
    fields = ("session", "began", "text", "exact", "exit_status")
    found = [
        Run(pk, by_id[pk].label, began, _shown(text), exact, status)
        for pk, began, text, exact, status in entries.values_list(*fields)[:MOST_RUNS]
    ]
    written = {run.session_id for run in found}
    bare = [pk for pk in by_id if pk not in written]
    for channel in Channel.objects.filter(session__in=bare, kind="exec", refusal="").exclude(command="")[
        :MOST_RUNS
    ]:
        session = by_id[channel.session_id]
        at = max(0.0, (channel.opened_at - session.opened_at).total_seconds())
        found.append(
            Run(session.pk, session.label, at, _shown(channel.command), exit_status=channel.exit_status)
        )
    return sorted(found, key=lambda run: (by_id[run.session_id].number, run.at))[:MOST_RUNS]


def findings_of(review: Review) -> QuerySet[Finding]:
    """Those that stand, in the order of the sessions and their seconds."""
    rows = review.findings.select_related("session", "author", "closed_by").filter(withdrawn_at=None)
    return rows.order_by(F("session__number").asc(nulls_first=True), "at_seconds", "pk")


def open_review_of(session: SSHSession, person: Person) -> Review | None:
    """The review of a session's grant that this person could sign: where the player may leave findings."""
    return reviews_to_sign(person).filter(grant=session.grant_id).first()


def findings(
    *,
    state: str = "open",
    severity: str = "",
    category: str = "",
    word: str = "",
    late_at: datetime | None = None,
) -> QuerySet[Finding]:
    """Findings of signed reviews: the severest first among the open ones, then the earliest due; closed ones newest first.

    `late_at`: only those whose day was over then. `word`: part of the text, the owner, or the person's name.
    """
    rows = Finding.objects.filter(withdrawn_at=None, review__state=ReviewState.SIGNED).select_related(
        "session",
        "author",
        "closed_by",
        "review__grant__person",
        "review__grant__request",
        "review__grant__incident",
    )
    rows = rows.filter(closed_at__isnull=state != "closed") if state in ("open", "closed") else rows
    if severity:
        rows = rows.filter(severity=severity)
    if category:
        rows = rows.filter(category=category)
    if late_at is not None:
        rows = rows.filter(due_at__lte=late_at, closed_at=None)
    if word:
        part = storable(word)
        rows = rows.filter(
            Q(text__icontains=part)
            | Q(owner__icontains=part)
            | Q(review__grant__person__username__icontains=part)
        )
    if state == "closed":
        return rows.order_by("-closed_at", "-pk")
    return rows.annotate(rank=_rank()).order_by("rank", F("due_at").asc(nulls_last=True), "pk")


def finding_for(finding_id: int) -> Finding | None:
    """A finding that stands, with what its page shows."""
    related = ("session", "author", "closed_by", "review__grant__person", "review__grant__request",
               "review__grant__playbook", "review__grant__incident", "review__reviewer")  # fmt: skip
    return Finding.objects.select_related(*related).filter(pk=finding_id, withdrawn_at=None).first()


def _rank() -> Case:
    order = [When(severity=severity, then=Value(rank)) for rank, severity in enumerate(SEVEREST_FIRST)]
    return Case(*order, default=Value(len(order)))


def _shown(command: str) -> str:
    return visible(command[:LONGEST_COMMAND])
