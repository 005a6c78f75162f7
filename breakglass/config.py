"""What the environment says: every `BREAKGLASS_*` variable, checked once at the start.

A wrong value stops the start with a message that names the variable and what it takes.
`docs/operate.md` lists them; a test holds the two together.
"""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from breakglass import object_store
from breakglass.domain import notice_kinds
from breakglass.object_store import ObjectStore

PREFIX = "BREAKGLASS_"


# What a process list or a crash dump must not show may lie in a file instead: the variable's name with _FILE.
SECRETS = (
    "secret_key",
    "master_key",
    "database_url",
    "redis_url",
    "email_url",
    "storage_url",
    "recording_key",
    "recording_keys_old",
    "audit_anchors",
    "siem",
    "notice_routes",
)
SIEM_SCHEMES = ("file", "syslog+tcp", "syslog+tls", "http", "https")
ANCHOR_SCHEMES = ("file", "syslog", "syslog+tcp", "http", "https", "mailto")


class ConfigError(Exception):
    """The environment can't be used; the message says which variable and why."""


class Config(BaseModel):
    """The settings of one installation. Each field is the variable `BREAKGLASS_<FIELD>`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret_key: str = Field(min_length=32, description="Django's secret key, 32 characters or more")
    master_key: bytes = Field(
        description="32 bytes in base64; every secret at rest is encrypted under keys derived from it"
    )
    data_dir: Path = Field(default=Path("var/data"), description="recordings, database file, key material")
    database_url: str = Field(
        default="",
        description="postgresql://user:password@host:port/name; empty: SQLite in the data directory",
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="redis://, rediss:// or unix:// address of Redis or Valkey",
    )
    public_url: str = Field(
        default="http://localhost:8000", description="address of the web page, as people type it"
    )
    allowed_hosts: str = Field(default="", description="further host names of the web page, comma separated")
    gateway_host: str = Field(default="127.0.0.1", description="name or address that people give to ssh")
    gateway_bind: str = Field(default="127.0.0.1", description="address the gateway listens on")
    gateway_port: int = Field(default=2222, ge=1, le=65535, description="port of the gateway")
    gateway_processes: int = Field(
        default=0, ge=0, le=64, description="processes of the gateway on its one port; 0: one a core"
    )
    gateway_exempt_networks: str = Field(
        default="",
        description="networks whose connections the gateway doesn't slow down, as 10.0.0.0/8, comma separated",
    )
    ssh_post_quantum_only: bool = Field(
        default=False,
        description="1: ssh clients without mlkem768x25519-sha256 (OpenSSH before 9.9) are turned away",
    )
    email_url: str = Field(
        default="", description="smtp://user:password@host:port?tls=1, or file:///folder; empty: console"
    )
    email_from: str = Field(default="breakglass@localhost", description="sender of notices")
    notice_routes: str = Field(
        default="",
        repr=False,
        description="the house's ways for notices, which playbooks name: NAME=ADDRESS pairs as Apprise writes addresses, "
        "separated by spaces; the first is told when a person can't be",
    )
    notice_networks: str = Field(
        default="",
        description="networks of the house that people's own ways for notices may lead into, also without TLS, "
        "as 10.0.0.0/8, comma separated; empty: only public addresses, over TLS",
    )
    requests_an_hour: int = Field(
        default=10, ge=1, le=10_000, description="requests that one person may send within an hour"
    )
    time_zone: str = Field(default="UTC", description="zone in which people's usual hours are judged")
    trusted_proxies: int = Field(
        default=0, ge=0, le=5, description="reverse proxies in front of the web page"
    )
    exec_record_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=64 * 1024,
        description="output of one exec channel that is kept whole; beyond it size and SHA-256 are kept",
    )
    storage_url: str = Field(
        default="",
        repr=False,
        description="s3://KEY:SECRET@HOST:PORT/BUCKET/PREFIX: sealed recordings go to that object store; "
        "empty: they stay in the data directory",
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        le=36500,
        description="days that recordings are kept where their playbook says nothing; 0: for ever",
    )
    recording_key: str = Field(
        default="",
        repr=False,
        description="32 bytes in base64: the key that wraps the keys of recordings; "
        "empty: derived from the master key",
    )
    recording_key_command: str = Field(
        default="",
        repr=False,
        description="a program, run without a shell, whose output is that key in base64",
    )
    recording_keys_old: str = Field(
        default="",
        repr=False,
        description="earlier such keys, comma separated: they still open what they wrapped",
    )
    recording_keys_old_command: str = Field(
        default="", repr=False, description="a program whose output is those, one a line or comma separated"
    )
    disk_reserve_mib: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="MiB held beside the recordings for orderly ends on a full disk; as much must be free besides for a new session",
    )
    disk_full_patience: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="seconds that a session waits, frozen, for room to record before it ends",
    )
    notary_key_file: str = Field(
        default="",
        description="the notary's private key; set for `run_notary` alone, readable by its user alone",
    )
    audit_anchors: str = Field(
        default="",
        description="where checkpoints of the audit trail are kept outside: file:///..., syslog://, syslog+tcp://, "
        "https:// and mailto: addresses, comma separated",
    )
    siem: str = Field(
        default="",
        description="who is sent the audit trail's rows as they happen: file:///..., syslog+tcp://, syslog+tls:// and "
        "https:// addresses, comma separated",
    )
    demo: bool = Field(
        default=False, description="1 in the demo: known passwords, mail folder shown; never in use"
    )
    debug: bool = Field(default=False, description="1 shows Django's debug pages; never in use")

    @field_validator("master_key", mode="before")
    @classmethod
    def _decode_master_key(cls, value: object) -> bytes:
        if isinstance(value, bytes) and len(value) == 32:
            return value
        try:
            key = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("must be 32 bytes in base64, as from: openssl rand -base64 32") from error
        if len(key) != 32:
            raise ValueError(f"must be 32 bytes in base64, not {len(key)}; openssl rand -base64 32 makes one")
        return key

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT] without a path")
        # As browsers write it into Origin (RFC 6454, section 6.1): in lower case, and without the port that goes without saying.
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
        return f"{parts.scheme}://{host}{port}"

    @field_validator("gateway_exempt_networks")
    @classmethod
    def _check_exempt_networks(cls, value: str) -> str:
        for network in filter(None, value.split(",")):
            try:
                ip_network(network.strip())
            except ValueError as error:
                raise ValueError(f"must be networks, comma separated: {error}") from error
        return value

    @field_validator("notice_routes")
    @classmethod
    def _check_notice_routes(cls, value: str) -> str:
        notice_kinds.routes_in(value)
        return value

    @field_validator("notice_networks")
    @classmethod
    def _check_notice_networks(cls, value: str) -> str:
        try:
            notice_kinds.networks_in(value)
        except ValueError as error:
            raise ValueError(f"must be networks, comma separated: {error}") from error
        return value

    @field_validator("siem")
    @classmethod
    def _check_siem(cls, value: str) -> str:
        for address in filter(None, (part.strip() for part in value.split(","))):
            scheme, colon, rest = address.partition(":")
            if not colon or not rest.strip("/") or scheme not in SIEM_SCHEMES:
                raise ValueError(f"each address must begin with one of {', '.join(SIEM_SCHEMES)}")
        return value

    @field_validator("audit_anchors")
    @classmethod
    def _check_audit_anchors(cls, value: str) -> str:
        for address in filter(None, (part.strip() for part in value.split(","))):
            scheme, colon, rest = address.partition(":")
            if not colon or not rest.strip("/") or scheme not in ANCHOR_SCHEMES:
                raise ValueError(f"each address must begin with one of {', '.join(ANCHOR_SCHEMES)}")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"postgresql", "postgres"}:
            raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/NAME, or empty for SQLite")
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("storage_url")
    @classmethod
    def _check_storage_url(cls, value: str) -> str:
        if value:
            object_store.parse(value)
        return value

    @field_validator("recording_key", "recording_keys_old")
    @classmethod
    def _check_recording_keys(cls, value: str, info: ValidationInfo) -> str:
        keys = keys_in(value)
        if len(keys) > 1 and info.field_name == "recording_key":
            raise ValueError("must be one key; earlier ones belong into BREAKGLASS_RECORDING_KEYS_OLD")
        return value

    @field_validator("recording_key_command", "recording_keys_old_command")
    @classmethod
    def _check_command(cls, value: str, info: ValidationInfo) -> str:
        other = str(info.field_name).removesuffix("_command")
        if value and info.data.get(other):
            raise ValueError(f"give it or {PREFIX}{other.upper()}, not both")
        try:
            shlex.split(value)
        except ValueError as error:
            raise ValueError(f"can't be read as a command: {error}") from None
        return value

    @property
    def object_store(self) -> ObjectStore | None:
        """Where sealed recordings go; None: they stay."""
        return object_store.parse(self.storage_url) if self.storage_url else None

    @property
    def exempt_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(
            ip_network(part.strip()) for part in filter(None, self.gateway_exempt_networks.split(","))
        )

    @property
    def house_routes(self) -> dict[str, str]:
        """The house's ways for notices by name, in the order in which they stand."""
        return notice_kinds.routes_in(self.notice_routes)

    @property
    def public_host(self) -> str:
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def public_is_https(self) -> bool:
        return self.public_url.startswith("https://")


def keys_in(text: str) -> tuple[bytes, ...]:
    """Keys of 32 bytes in base64, separated by commas or white space. ValueError, which repeats none of them."""
    keys = []
    for word in text.replace(",", " ").split():
        try:
            keys.append(base64.b64decode(word, validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("must be 32 bytes in base64, as from: openssl rand -base64 32") from None
        if len(keys[-1]) != 32:
            raise ValueError(f"must be 32 bytes in base64, not {len(keys[-1])}")
    return tuple(keys)


def load(environ: Mapping[str, str]) -> Config:
    """The configuration out of `environ`. Raises `ConfigError` naming each wrong variable."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and not name.startswith(PREFIX + "TEST_")
    }
    for name in SECRETS:
        if f"{name}_file" in given:
            given[name] = _read_secret(name, given)
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem) for problem in error.errors())) from None


def _read_secret(name: str, given: dict[str, str]) -> str:
    variable = f"{PREFIX}{name.upper()}"
    path = Path(given.pop(f"{name}_file"))
    if name in given:
        raise ConfigError(f"{variable} and {variable}_FILE are both set: give one of them.")
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise ConfigError(f"{variable}_FILE: {path} can't be read: {problem}.") from None


def _explain(problem: Mapping[str, object]) -> str:
    location = problem["loc"]
    field = str(location[0]) if isinstance(location, tuple) and location else "?"
    name = PREFIX + field.upper()
    if problem["type"] == "missing":
        description = Config.model_fields[field].description
        return f"{name} is not set: {description}."
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting of Breakglass; docs/operate.md lists them."
    return f"{name}: {str(problem['msg']).removeprefix('Value error, ')}."
