"""After a refusal: the next best thing, as a button, and who can help, by name.

Every code stands in one of two tables: NEXT, or NOTHING with the reason why a button would only mislead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse

from breakglass import queries
from breakglass.domain.permissions import ADMINISTRATORS, REVIEWERS, SUPERVISORS
from breakglass.domain.refusals import Refusal, RefusalCode
from breakglass.models import AccessRequest, Grant, Person
from breakglass.web.find import ask_url
from breakglass.web.who import has_both_factors

MOST_HELPERS = 5


@dataclass(frozen=True)
class Step:
    url: str
    label: str


@dataclass(frozen=True)
class Place:
    """Where it was refused: the person, what the address names, and the words that the refusal was filled with."""

    person: Person
    path: str
    kwargs: Mapping[str, Any]
    about: Mapping[str, str]
    came_from: str


Way = Callable[[Place], Step | None]


@dataclass(frozen=True)
class Next:
    """`steps`: the first that leads somewhere is the button. `who`: groups that can help, beside those that are named."""

    steps: tuple[Way, ...]
    who: tuple[str, ...] = ()


def to(name: str, label: str, anchor: str = "") -> Way:
    return lambda place: Step(reverse(name) + anchor, label)


def again(place: Place) -> Step | None:
    """The same page once more: only where it was asked for by an address, never a click that changes something."""
    return Step(place.path, "Try again") if place.path else back(place)


def back(place: Place) -> Step | None:
    return Step(place.came_from, "Back to the form") if place.came_from else None


def ask_again(place: Place) -> Step | None:
    """The request of the address, or of the grant in it, with its own words filled in: for its requester only."""
    requests = AccessRequest.objects.filter(requester=place.person).select_related("playbook")
    if "request_id" in place.kwargs:
        found = requests.filter(pk=place.kwargs["request_id"]).first()
    elif "grant_id" in place.kwargs:
        found = requests.filter(grant__pk=place.kwargs["grant_id"]).first()
    else:
        found = None
    if found is None or found.extends_id:
        return None
    return Step(ask_url(found.playbook.slug, again=str(found.pk)), "Ask again with the same words")


def ask_for_asset(place: Place) -> Step | None:
    """The form of the one playbook that leads to the machine and that this person may ask for; a search where there are several."""
    asset = place.about.get("asset", "")
    if not asset:
        return None
    leading = [v for v in queries.playbooks_for(place.person) if asset in queries.spec_of(v).assets]
    if len(leading) == 1:
        return Step(ask_url(leading[0].slug, asset=asset), f"Ask for {leading[0].title}")
    return Step(f"{reverse('find')}?{urlencode({'q': asset})}", f"Find a way to {asset}") if leading else None


def my_request(place: Place) -> Step | None:
    """The page of the request that the grant in the address came of, or of that request."""
    if "request_id" in place.kwargs:
        return Step(reverse("request", args=[place.kwargs["request_id"]]), "See the request")
    grant = (
        Grant.objects.filter(pk=place.kwargs["grant_id"], person=place.person).first()
        if "grant_id" in place.kwargs
        else None
    )
    return Step(reverse("request", args=[grant.request_id]), "To the page of your grant") if grant else None


START = to("home", "Go to the start")
PLAYBOOKS = to("playbooks", "See the playbooks")
PROFILE = to("profile", "To your keys and factors")
KEYS = to("profile", "To your keys", "#keys")
ASSETS = to("assets", "See the machines")
SESSIONS = to("sessions", "See the sessions")
REVIEWS = to("reviews", "See the reviews")
INCIDENTS = to("incidents", "See the incidents")
LOGIN = to("login", "Log in")

C = RefusalCode
_FORM = Next((back, again, START))
_ASK = Next((ask_again, ask_for_asset, PLAYBOOKS))
_WAIT = Next((again, START), (ADMINISTRATORS,))
_GRANT = Next((my_request, PLAYBOOKS))
_REQUEST = Next((my_request, START))
NEXT: dict[RefusalCode, Next] = {
    C.BAD_CREDENTIALS: Next((LOGIN,)),
    C.SECOND_FACTOR_REQUIRED: Next((LOGIN,)),
    C.SECOND_FACTOR_WRONG: _FORM,
    C.SECOND_FACTOR_USED: _FORM,
    C.PASSKEY_REFUSED: _FORM,
    C.PASSKEY_CLONED: Next((PROFILE,), (ADMINISTRATORS,)),
    C.ENROLMENT_CODE_WRONG: Next((LOGIN,), (ADMINISTRATORS,)),
    C.LAST_FACTOR: Next((PROFILE,), (ADMINISTRATORS,)),
    C.RECOVERY_TAKES_TWO: Next((START,), (ADMINISTRATORS,)),
    C.MATCH_NUMBER_WRONG: _REQUEST,
    C.TOO_MANY_REQUESTS: Next((START,), (SUPERVISORS,)),
    C.THROTTLED: _FORM,
    C.NOT_ALLOWED: Next((START,)),
    C.NOT_FOUND: Next((START,)),
    C.BAD_NAME: Next((START,)),
    C.BAD_INPUT: _FORM,
    C.NO_GRANT: _ASK,
    C.GRANT_ENDED: _ASK,
    C.GRANT_FOREIGN: Next((ask_for_asset, PLAYBOOKS)),
    C.GRANT_USE_WINDOW_OVER: _ASK,
    C.UNKNOWN_ASSET: Next((ASSETS,)),
    C.ASSET_OUTSIDE_PLAYBOOK: Next((ask_for_asset, back, PLAYBOOKS)),
    C.LOGIN_NOT_IN_GRANT: _GRANT,
    C.CHANNEL_NOT_ALLOWED: Next((PLAYBOOKS,)),
    C.FORWARD_NOT_ALLOWED: Next((PLAYBOOKS,)),
    C.FORWARD_BARRED: Next((PLAYBOOKS,)),
    C.FILE_OUTSIDE_ROOTS: Next((PLAYBOOKS,)),
    C.FILE_LIMIT: Next((PLAYBOOKS,)),
    C.TOO_MANY_CHANNELS: Next((SESSIONS,)),
    C.REQUEST_NOT_PENDING: _REQUEST,
    C.REQUEST_LAPSED: Next((ask_again, my_request, START)),
    C.OWN_REQUEST: _REQUEST,
    C.ALREADY_DECIDED: _REQUEST,
    C.NOT_AN_APPROVER: _REQUEST,
    C.OVERRIDE_NOT_OFFERED: _REQUEST,
    C.OVERRIDE_TOO_EARLY: _REQUEST,
    C.OVERRIDE_BLOCKED: Next((my_request, START), (REVIEWERS,)),
    C.INCIDENT_CLOSED: Next((to("incident_open", "Open a new incident"),)),
    C.INCIDENT_BUSY: Next((back, INCIDENTS), (REVIEWERS,)),
    C.PLAYBOOK_RETIRED: Next((PLAYBOOKS,)),
    C.DURATION_OUT_OF_BOUNDS: _FORM,
    C.NO_MORE_TIME: Next((ask_again, PLAYBOOKS)),
    C.EXTENSION_PENDING: _GRANT,
    C.REASON_MISSING: _FORM,
    C.LOCKED: Next((START,), (ADMINISTRATORS,)),
    C.UNCONFIRMED: _WAIT,
    C.KEY_WEAK: Next((KEYS,)),
    C.KEY_TYPE: Next((KEYS,)),
    C.KEY_IN_USE: Next((KEYS,)),
    C.KEY_MALFORMED: Next((KEYS,)),
    C.KEY_CLONED: Next((KEYS,), (ADMINISTRATORS,)),
    C.KEY_UNPROVEN: Next((KEYS,)),
    C.CERTIFICATE_REFUSED: _GRANT,
    C.CONNECT_CODE_WRONG: _GRANT,
    C.TERMINAL_TICKET_WRONG: Next((my_request, again, START)),
    C.TERMINALS_FULL: Next((SESSIONS,)),
    C.HOST_KEY_CHANGED: Next((ASSETS,), (ADMINISTRATORS,)),
    C.UPSTREAM_UNREACHABLE: Next((my_request, START), (ADMINISTRATORS,)),
    C.UPSTREAM_REFUSED: Next((my_request, START), (ADMINISTRATORS,)),
    C.OLD_ALGORITHMS: Next((ASSETS,), (ADMINISTRATORS,)),
    C.CANNOT_RECORD: _WAIT,
    C.SESSION_NOT_LIVE: Next((SESSIONS,)),
    C.SESSION_ENDED: Next((SESSIONS,)),
    C.SESSION_FROZEN: Next((SESSIONS,), (ADMINISTRATORS,)),
    C.REVIEW_CONFLICT: Next((REVIEWS,), (REVIEWERS,)),
    C.REVIEW_NOT_DUE: Next((REVIEWS,)),
    C.REVIEW_CLAIMED: Next((REVIEWS,), (REVIEWERS,)),
    C.FINDING_OPEN: Next((REVIEWS,)),
    C.FINDING_CLOSED: Next((REVIEWS,)),
    C.RECORDING_OPEN: Next((again, SESSIONS)),
    C.RECORDING_DAMAGED: Next((SESSIONS,), ("auditors",)),
    C.RECORDING_DELETED: Next((SESSIONS,)),
    C.RECORDING_UNAVAILABLE: _WAIT,
    C.RECORDING_HOLD: Next((SESSIONS,)),
    C.GATEWAY_FULL: _WAIT,
    C.GATEWAY_DRAINING: _WAIT,
    C.NOT_OFFERED: Next((START,)),
    C.KIOSK_CODE_WRONG: Next((START,), (ADMINISTRATORS,)),
    C.TOKEN_REQUIRED: Next((to("profile", "To your tokens", "#tokens"),)),
}
NOTHING: dict[RefusalCode, str] = {
    C.PERSON_INACTIVE: "a disabled person may open no page: every button would be refused; the words name who can help",
    C.FILE_PROTOCOL: "it happens inside a file transfer of the person's own program, where there is no page",
    C.DATABASE_UNAVAILABLE: "shown by a page that must not need the database; it has its own way back",
    C.DISK_FULL: "shown by a page that must not need the database; it has its own way back",
    C.INTERNAL: "shown by a page that must need nothing of ours; it has its own way back",
}


def step_after(request: HttpRequest, refused: Refusal) -> Step | None:
    """The button of the page of a refusal; None where the tables have none."""
    known = NEXT.get(refused.code)
    person = request.user
    if known is None:
        return None
    if not isinstance(person, Person) or not has_both_factors(person):
        return Step(reverse("login"), "Log in")
    place = _place(request, person, refused)
    return next((step for way in known.steps if (step := way(place))), None)


def helpers_for(request: HttpRequest, refused: Refusal) -> list[Person]:
    """Who can help, of the groups that the table or the words name: for people who have logged in."""
    person = request.user
    if not isinstance(person, Person) or not has_both_factors(person):
        return []
    groups = set(NEXT[refused.code].who) if refused.code in NEXT else set()
    said = " ".join(refused.about.get(name, "") for name in ("who", "asked"))
    if said:
        words = set(re.findall(r"[a-z][a-z0-9-]*", said.lower()))
        names = Group.objects.values_list("name", flat=True)
        groups |= {name for name in names if name in words or name.removesuffix("s") in words}
    found = queries.people_in(sorted(groups)) if groups else []
    return sorted((one for one in found if one.pk != person.pk), key=lambda one: one.full_name)[:MOST_HELPERS]


def _place(request: HttpRequest, person: Person, refused: Refusal) -> Place:
    match = request.resolver_match
    asked_for = request.method in {"GET", "HEAD"}
    return Place(
        person=person,
        path=request.get_full_path() if asked_for else "",
        kwargs=match.kwargs if match else {},
        about=refused.about,
        came_from="" if asked_for else _own_address(request),
    )


def _own_address(request: HttpRequest) -> str:
    """The page of ours that the click came from; nothing of another site's."""
    parts = urlsplit(request.headers.get("Referer", ""))
    if parts.netloc != request.get_host() or parts.path == request.path:
        # The form's own address: opening it shows the form again.
        return request.path if parts.path == request.path else ""
    return parts.path
