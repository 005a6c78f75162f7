"""A playbook as people read it: on a card, beside a form, next to a request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.template.defaultfilters import filesizeformat

from breakglass import queries
from breakglass.models import PlaybookVersion
from playbooks.schema import PlaybookSpec

CHANNELS = {"shell": "shell", "exec": "single commands", "sftp": "file transfer", "forward": "port forward"}


@dataclass(frozen=True)
class Card:
    slug: str
    title: str
    purpose: str
    owner: str
    risk: str
    assets: tuple[str, ...]
    logins: tuple[str, ...]
    allowed: str
    forward_to: tuple[str, ...]
    files: str
    default_minutes: int
    max_minutes: int
    longer: str
    clock: str
    clock_sentence: str
    approvers: str
    approvers_verb: str
    approver_groups: frozenset[str]
    requesters: str
    requester_groups: frozenset[str]
    count: int
    idle_minutes: int
    escalate_minutes: int
    lapse_minutes: int
    review_hours: int
    version: int
    digest: str
    template: bool
    standards: tuple[str, ...]
    runbook: str
    exec_only: bool
    may_ask: bool = False
    why_not: str = ""


def card_of(version: PlaybookVersion) -> Card:
    """The card of one version. What a person may do with it is said by `for_groups`."""
    spec = queries.spec_of(version)
    count = spec.approvers.count
    if spec.clock.starts == "approval":
        clock = "when it is approved"
        sentence = "The clock starts when it is approved."
    else:
        clock = f"at your first login, within {spec.clock.use_within_minutes} min of the approval"
        sentence = (
            f"The clock starts at your first login; log in within {spec.clock.use_within_minutes} minutes."
        )
    return Card(
        slug=version.slug,
        title=version.title,
        purpose=spec.purpose,
        owner=spec.owner,
        risk=str(spec.risk),
        assets=spec.assets,
        logins=spec.logins,
        allowed=listing([CHANNELS[str(channel)] for channel in spec.channels]),
        forward_to=tuple(str(place) for place in spec.forward_to),
        files=_files(spec),
        default_minutes=spec.duration.default_minutes,
        max_minutes=spec.duration.max_minutes,
        longer=_longer(spec.duration.extensions),
        clock=clock,
        clock_sentence=sentence,
        approvers=f"{NUMBERS.get(count, str(count))} of {listing(spec.approvers.groups, 'or')}",
        approvers_verb="must approve" if count > 1 else "must approve it",
        approver_groups=frozenset(spec.approvers.groups),
        requesters=listing(spec.requesters.groups, "or"),
        requester_groups=frozenset(spec.requesters.groups),
        count=count,
        idle_minutes=spec.idle_minutes,
        escalate_minutes=spec.escalate_minutes,
        lapse_minutes=spec.lapse_minutes,
        review_hours=spec.review_due_hours,
        version=version.version,
        digest=version.digest,
        template=spec.template,
        standards=spec.standards,
        runbook=spec.runbook,
        exec_only="shell" not in {str(channel) for channel in spec.channels},
        why_not="This version was retired." if version.retired_at else "",
    )


def _files(spec: PlaybookSpec) -> str:
    """What bounds the files that may be moved; empty where nothing does."""
    if spec.files is None:
        return ""
    said = []
    if spec.files.roots:
        said.append("only inside " + listing(spec.files.roots))
    if spec.files.max_bytes is not None:
        said.append(f"at most {filesizeformat(spec.files.max_bytes)} each way in a session")
    if spec.files.keep_contents:
        said.append("a copy of what is moved is kept for the reviewers")
    return "; ".join(said)


def _longer(extensions: int) -> str:
    if not extensions:
        return "never made longer"
    times = {1: "once", 2: "twice"}.get(extensions, f"{extensions} times")
    return f"may be made longer {times}, approved anew"


NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


def for_groups(card: Card, groups: frozenset[str]) -> Card:
    """The card as these groups see it: may they ask, and if not, who may."""
    if card.template:
        return replace(card, why_not="A template to copy: it can't be asked for.")
    if card.why_not:
        return card
    if not groups & card.requester_groups:
        return replace(card, why_not=f"You can't ask for this one: {card.requesters} can.")
    return replace(card, may_ask=True)


def listing(words: tuple[str, ...] | list[str], last: str = "and") -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
