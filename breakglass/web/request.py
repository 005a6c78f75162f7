"""A request, live: who was asked, who answered, how long; on approval it turns into the way in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from breakglass import clock, queries
from breakglass.domain.approvals import Verdict, objection
from breakglass.domain.grants import LIVE, GrantState
from breakglass.domain.permissions import Verb
from breakglass.models import AccessRequest, Grant, Person
from breakglass.services import extensions, notice_gaps, override
from breakglass.services import requests as service
from breakglass.web import live, reads
from breakglass.web.cards import Card, card_of
from breakglass.web.story import story_of
from breakglass.web.tags import minutes
from breakglass.web.way_in import gateway_host_key, ways_in
from breakglass.web.who import can, demand, groups_of, person_of

TEMPLATE = "breakglass/parts/request_live.html"


@require_safe
def request_page(request: HttpRequest, request_id: UUID) -> HttpResponse:
    person = person_of(request)
    ask = queries.request_for(person, request_id)
    context = _context(ask, person, clock.now())
    html, _ = live.block(request, TEMPLATE, context)
    return render(request, "breakglass/request.html", {**context, "live": html})


@require_safe
def request_live(request: HttpRequest, request_id: UUID) -> HttpResponse:
    person = person_of(request)
    return live.answer(
        request, TEMPLATE, _context(queries.request_for(person, request_id), person, clock.now())
    )


@require_safe
def request_events(request: HttpRequest, request_id: UUID) -> StreamingHttpResponse:
    ask = queries.request_for(person_of(request), request_id)
    # "sessions" rings for every session of the house: the mark keeps quiet what isn't this request's.
    return live.stream([f"request:{ask.id}", "sessions"])


@require_POST
def request_withdraw(request: HttpRequest, request_id: UUID) -> HttpResponse:
    person = person_of(request)
    ask = queries.request_for(person, request_id)
    demand(person, Verb.WITHDRAW_REQUEST, queries.thing_of_request(ask))
    service.withdraw(ask.id, person, clock.now())
    messages.info(request, f"{ask.label} is withdrawn.")
    return redirect("request", ask.id)


@dataclass(frozen=True)
class Stand:
    """The one big line: where the request stands, and the clock that runs for it."""

    kind: str
    title: str
    says: str = ""
    until: datetime | None = None
    until_says: str = ""
    clock: str = ""


@dataclass(frozen=True)
class Slot:
    """One approval that is needed; given ones carry a name."""

    kind: str
    icon: str
    says: str


@dataclass(frozen=True)
class Buttons:
    can_withdraw: bool = False
    can_release: bool = False
    can_extend: bool = False
    can_revoke: bool = False
    can_decide: bool = False
    can_override: bool = False
    can_export: bool = False
    again: bool = field(default=False)


def grant_of(ask: AccessRequest) -> Grant | None:
    return getattr(ask, "grant", None)


def slots_of(ask: AccessRequest, card: Card) -> list[Slot]:
    """A slot for each approval that the playbook asks for."""
    given = [
        Slot("given", "done", f"{row.person.get_full_name()}: yes")
        if row.verdict == Verdict.APPROVED
        else Slot("against", "stop", f"{row.person.get_full_name()}: no")
        for row in ask.approvals.all()
    ]
    missing = max(0, card.count - sum(slot.kind == "given" for slot in given))
    return given + [Slot("open", "wait", "waiting for an approver")] * missing


def _context(ask: AccessRequest, person: Person, now: datetime) -> dict[str, Any]:
    card = card_of(ask.playbook)
    grant, state = grant_of(ask), reads.standing(ask, now)
    mine = ask.requester_id == person.id
    open_to_me = mine and state in {str(s) for s in LIVE}
    return {
        "ask": ask,
        "card": card,
        "grant": grant,
        "asset_names": sorted(asset.name for asset in ask.assets.all()),
        "old_assets": {asset.name for asset in ask.assets.all() if asset.legacy_algorithms},
        "pending": state == "pending",
        "match_number": ask.match_number if mine and state == "pending" else None,
        "gaps": notice_gaps.about(f"request:{ask.id}", now) if state == "pending" else [],
        "stand": _stand(ask, grant, state, card, mine, now),
        "slots": slots_of(ask, card),
        "story": story_of(ask, grant, now),
        "sessions": reads.sessions_under(grant) if grant else [],
        "ways": ways_in(grant, person, card) if grant and open_to_me else [],
        "has_key": person.ssh_keys.filter(removed_at=None).exists(),
        "host_key": gateway_host_key() if open_to_me else "",
        **vars(_buttons(ask, grant, state, person)),
    }


def _buttons(ask: AccessRequest, grant: Grant | None, state: str, person: Person) -> Buttons:
    thing = queries.thing_of_request(ask)
    is_live = state in {str(s) for s in LIVE}
    may_decide = state == "pending" and not objection(
        queries.rule_of(ask.playbook),
        requester_id=ask.requester_id,
        person_id=person.id,
        person_groups=groups_of(person),
        decisions=queries.decisions_on(ask),
    )
    return Buttons(
        can_withdraw=state == "pending" and can(person, Verb.WITHDRAW_REQUEST, thing),
        can_release=is_live and grant is not None and can(person, Verb.RELEASE_GRANT, thing),
        can_extend=grant is not None
        and grant.person_id == person.pk
        and bool(extensions.longest(grant, clock.now())),
        can_revoke=is_live and grant is not None and can(person, Verb.REVOKE_GRANT, thing),
        can_decide=may_decide,
        can_override=state == "pending"
        and can(person, Verb.OVERRIDE_REQUEST, thing)
        and override.objection(ask, person, clock.now()) is None,
        can_export=grant is not None and can(person, Verb.EXPORT_EVIDENCE, thing),
        again=state not in {"pending", "armed", "active"}
        and ask.extends_id is None
        and ask.requester_id == person.id,
    )


def _stand(
    ask: AccessRequest, grant: Grant | None, state: str, card: Card, mine: bool, now: datetime
) -> Stand:
    if ask.extends and state != "pending":
        return _stand_of_more_time(ask, state)
    who = "You are" if mine else f"{ask.requester.get_full_name()} is"
    match state:
        case "pending":
            return _waiting(ask, card, now)
        case str(GrantState.ARMED) if grant:
            return Stand(
                "live",
                "Approved: log in to start the clock",
                f"{ask.duration.seconds // 60} minutes from the first login.",
                grant.use_by,
                "to log in",
                ask.label,
            )
        case str(GrantState.ACTIVE) if grant:
            return Stand(
                "live", f"{who} in", "", grant.ends_at, "left; then every session is ended", ask.label
            )
        case "denied":
            return Stand("stop", "Denied", "One of the approvers said no; the reason is below.")
        case "withdrawn":
            return Stand("", "Withdrawn", "Nobody needs to answer any more.")
        case "lapsed":
            return Stand(
                "stop",
                "Lapsed: nobody answered in time",
                "Ask again, or call the approvers. They were: " + card.approvers + ".",
            )
        case "released":
            return Stand("", "Released", "The access is over. A review follows.")
        case "revoked":
            return Stand("stop", "Revoked", "The access was withdrawn and its sessions were ended.")
    return Stand("", "Over: the time is up", "The access ended on time. A review follows.")


def _stand_of_more_time(ask: AccessRequest, state: str) -> Stand:
    as_before = "The access ends as it would have."
    match state:
        case "approved":
            says = "The access goes on as before, only longer."
            return Stand("live", f"Granted: {minutes(ask.minutes)} more", says)
        case "denied":
            return Stand("stop", "Denied", f"{as_before} The reason is below.")
        case "lapsed":
            return Stand("stop", "Lapsed: nobody answered in time", as_before)
    return Stand("", "Withdrawn", as_before)


def _waiting(ask: AccessRequest, card: Card, now: datetime) -> Stand:
    given = sum(row.verdict == Verdict.APPROVED for row in ask.approvals.all())
    missing = card.count - given
    title = "Waiting for an answer" if not given else f"{given} of {card.count} said yes"
    people = [person.get_full_name() for person in queries.approvers_of(ask)]
    asked = (
        f"Asked: {', '.join(people[:6])}{' and others' if len(people) > 6 else ''}."
        if people
        else "Nobody can approve this now: the groups are empty. Call an administrator."
    )
    asked += f" {missing} of them must say yes." if card.count > 1 else ""
    if ask.escalated_at is None and now < ask.escalates_at:
        return Stand("wait", title, asked, ask.escalates_at, "until more people are woken", ask.label)
    asked += " More people were woken." if ask.escalated_at else ""
    return Stand("wait", title, asked, ask.lapses_at, "until it lapses", ask.label)
