"""What a playbook may say. Anything else is refused: unknown fields, loose types, patterns, mixed classes.

A `PlaybookSpec` is frozen and complete: defaults are filled in, so that the digest covers what will be enforced.
The descriptions of the fields are shown to the author of a faulty file; they are written for that reader.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from playbooks import rules
from playbooks.standards import LABELS

MAX_MINUTES = 240
MAX_RUNBOOK = 64 * 1024


class AssetClass(StrEnum):
    """One playbook serves one class of assets. Safety systems are left out on purpose (B20)."""

    HISTORIAN = "historian"
    HMI = "hmi"
    ENGINEERING = "engineering"
    NETWORK = "network"
    BUILDING = "building"
    GATEWAY = "gateway"
    BACKUP = "backup"
    SERVER = "server"
    DIRECTORY = "directory"


class Risk(StrEnum):
    """What a mistake under this playbook could cost; `critical` needs two approvers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Channel(StrEnum):
    """A kind of SSH channel."""

    SHELL = "shell"
    EXEC = "exec"
    SFTP = "sftp"
    FORWARD = "forward"


def _host(value: str, info: ValidationInfo) -> str:
    host = rules.destination_host(value)
    return host if info.context and info.context.get("stored") else rules.not_barred(host)


def _standard(value: str) -> str:
    if value not in LABELS:
        raise ValueError(
            f"{value!r} is no known label: use one of playbooks/standards.py, exactly as written there"
        )
    return value


Line = Annotated[str, Field(max_length=200), AfterValidator(rules.visible_text)]
Title = Annotated[str, Field(max_length=120), AfterValidator(rules.visible_text)]
AssetName = Annotated[str, AfterValidator(rules.asset_name)]
Login = Annotated[str, AfterValidator(rules.login_name)]
Group = Annotated[str, AfterValidator(rules.group_name)]
Host = Annotated[str, AfterValidator(_host)]
RootPath = Annotated[str, AfterValidator(rules.absolute_path)]
Standard = Annotated[str, AfterValidator(_standard)]
Groups = Annotated[tuple[Group, ...], Field(min_length=1, max_length=10), AfterValidator(rules.distinct)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Destination(_Model):
    """One place that a forward may lead to, as the asset would dial it."""

    host: Host
    port: int = Field(ge=1, le=65535)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdecimal():
            raise PydanticCustomError("destination", "must be one host and one port, such as 127.0.0.1:8080")
        return {"host": host.removeprefix("[").removesuffix("]"), "port": int(port[:6])}

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Duration(_Model):
    """How long a grant lasts."""

    default_minutes: int = Field(
        ge=5, le=MAX_MINUTES, description="what is asked for unless the person says less"
    )
    max_minutes: int = Field(
        ge=5, le=MAX_MINUTES, description="the longest that may be asked for, at most 240"
    )
    extensions: int = Field(
        default=1, ge=0, le=5, description="how often a grant may be made longer, approved anew each time"
    )


class Clock(_Model):
    """When a grant's time starts to run."""

    starts: Literal["approval", "first_use"] = Field(description="approval or first_use")
    use_within_minutes: int | None = Field(
        default=None,
        ge=5,
        le=MAX_MINUTES,
        description="with first_use: the grant is void if unused for this long",
    )


class Approvers(_Model):
    """Who consents: `count` distinct people out of these groups, never the requester."""

    groups: Groups = Field(description="groups of people, such as ot-leads")
    count: int = Field(ge=1, le=5, description="how many distinct people must approve")


class Files(_Model):
    """What may be done with files by sftp, scp and rsync. Left out: anywhere that the login may, any size."""

    roots: Annotated[tuple[RootPath, ...], Field(max_length=20), AfterValidator(rules.distinct)] = Field(
        default=(), description="a list of absolute paths: only what is inside may be touched"
    )
    max_bytes: int | None = Field(
        default=None, ge=1, le=1 << 50, description="how many bytes a session may move, each way"
    )
    keep_contents: bool = Field(
        default=False, description="true: a copy of what is moved is kept, encrypted, for the reviewers"
    )


class Requesters(_Model):
    """Who may ask."""

    groups: Groups = ("responders",)


class PlaybookSpec(_Model):
    """One emergency playbook, validated."""

    schema_version: Literal[1] = Field(description="1")
    slug: Annotated[str, AfterValidator(rules.slug)] = Field(description="the playbook's short, stable name")
    title: Title = Field(description="one line that a tired person recognises")
    purpose: Line = Field(description="what this playbook is for, in one line")
    owner: Line = Field(description="who answers for this playbook: a team or a role")
    template: bool = Field(default=False, description="true: an example to copy, never published")
    asset_class: AssetClass = Field(description="the one class that all its assets have")
    risk: Risk = Field(description="what a mistake could cost")
    assets: Annotated[
        tuple[AssetName, ...], Field(min_length=1, max_length=20), AfterValidator(rules.distinct)
    ] = Field(description="a list of registered assets, each by its full name")
    logins: Annotated[
        tuple[Login, ...], Field(min_length=1, max_length=10), AfterValidator(rules.distinct)
    ] = Field(description="a list of account names on the assets")
    channels: Annotated[tuple[Channel, ...], Field(min_length=1), AfterValidator(rules.distinct)] = Field(
        description="a list of shell, exec, sftp, forward"
    )
    forward_to: Annotated[tuple[Destination, ...], Field(max_length=20), AfterValidator(rules.distinct)] = (
        Field(default=(), description="a list of host:port, needed with the channel forward")
    )
    files: Files | None = Field(default=None, description="roots, max_bytes and keep_contents, with sftp")
    duration: Duration = Field(description="default_minutes and max_minutes")
    clock: Clock = Field(description="starts, and use_within_minutes with first_use")
    approvers: Approvers = Field(description="groups and count")
    requesters: Requesters = Requesters()
    idle_minutes: int = Field(
        default=10, ge=1, le=60, description="a session without input for so long is ended"
    )
    review_due_hours: int = Field(
        default=24, ge=1, le=72, description="hours from the end to the signed review"
    )
    escalate_minutes: int = Field(
        default=5, ge=1, le=MAX_MINUTES, description="unanswered so long: wake more people"
    )
    override_minutes: int = Field(
        default=10, ge=1, le=MAX_MINUTES, description="then the override may be offered"
    )
    lapse_minutes: int = Field(
        default=30, ge=2, le=MAX_MINUTES, description="unanswered so long: the request lapses"
    )
    override_allowed: bool = Field(
        default=False, description="true: the supervisor may decide alone when nobody does"
    )
    hold_until_expiry: bool = Field(
        default=False, description="true: a live session outlasts a database outage, up to the grant's end"
    )
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36500,
        description="how long recordings are kept; left out: as the installation says",
    )
    legal_hold: bool = Field(
        default=False, description="true: recordings are kept until an auditor lifts the hold on each"
    )
    escort: Groups | None = Field(
        default=None, description="groups of people: one of them must watch, or the session is held"
    )
    kill_needs_factor: bool = Field(
        default=False, description="true: ending a live session asks for a second factor"
    )
    notify: Annotated[tuple[Group, ...], Field(max_length=10), AfterValidator(rules.distinct)] = Field(
        default=(),
        description="names of the house's ways for notices, such as ot-oncall, told beside the people",
    )
    standards: Annotated[tuple[Standard, ...], AfterValidator(rules.distinct)] = Field(
        default=(), description="labels of the controls that it serves"
    )
    runbook: Annotated[str, Field(max_length=MAX_RUNBOOK), AfterValidator(rules.block_text)] = Field(
        description="Markdown: steps, checks, when to stop, how to put things back"
    )

    @field_validator("asset_class", mode="before")
    @classmethod
    def _no_safety_system(cls, value: Any) -> Any:
        if value in ("safety", "sis"):
            raise PydanticCustomError(
                "safety", "safety systems take no playbook (B20): use the site's own procedure"
            )
        return value

    @model_validator(mode="after")
    def _fields_agree(self) -> PlaybookSpec:
        problems = _disagreements(self)
        if problems:
            raise PydanticCustomError("disagreement", "fields disagree", {"problems": problems})
        return self

    @classmethod
    def from_plain(cls, data: Any, *, stored: bool = False) -> PlaybookSpec:
        """The spec of plain JSON data; raises pydantic's ValidationError.

        A `stored` version can still be read where it names an address that is barred by now: the gateway refuses it.
        """
        return cls.model_validate_json(json.dumps(data, allow_nan=False), context={"stored": stored})


def _disagreements(spec: PlaybookSpec) -> list[tuple[str, str]]:
    """(field, problem) for each pair of fields that contradict one another."""
    found: list[tuple[str, str]] = []
    if spec.duration.default_minutes > spec.duration.max_minutes:
        found.append(("duration.default_minutes", "is longer than max_minutes: lower it"))
    found += _clock_problems(spec.clock)
    forwards = Channel.FORWARD in spec.channels
    if forwards and not spec.forward_to:
        found.append(("channels", "allows forward, but forward_to names no destination: add forward_to"))
    if spec.forward_to and not forwards:
        found.append(
            ("forward_to", "names destinations, but channels lacks forward: add it, or remove these")
        )
    if spec.files is not None and Channel.SFTP not in spec.channels:
        found.append(("files", "bounds what is moved, but channels lacks sftp: add it, or remove this"))
    if not spec.escalate_minutes < spec.override_minutes < spec.lapse_minutes:
        found.append(
            ("lapse_minutes", "escalate_minutes, override_minutes and lapse_minutes must rise in this order")
        )
    if spec.risk is Risk.CRITICAL and spec.approvers.count < 2:
        found.append(("approvers.count", "risk critical needs two approvers or more: raise it to 2"))
    if spec.override_allowed and spec.asset_class is AssetClass.DIRECTORY:
        found.append(("override_allowed", "is never possible for domain controllers: remove it"))
    return found


def _clock_problems(clock: Clock) -> list[tuple[str, str]]:
    if clock.starts == "first_use" and clock.use_within_minutes is None:
        return [("clock.starts", "first_use needs use_within_minutes beside it: add it, such as 30")]
    if clock.starts == "approval" and clock.use_within_minutes is not None:
        return [("clock.use_within_minutes", "means nothing when the clock starts at approval: remove it")]
    return []
