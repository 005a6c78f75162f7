"""Where sealed recordings go: an S3-compatible object store, as one address says it.

  s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=...&tls=0&style=virtual&write=0]

`tls=0`: plain HTTP. `style=virtual`: the bucket is part of the host's name; else of the path. `write=0`: what is there
is read, and deleted when its time is over, but nothing new goes there. KEY and SECRET are percent-encoded; without
them the machine's own credentials are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEME: Final = "s3"
_OPTIONS: Final = {"region", "tls", "style", "write"}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+")
SHAPE: Final = "s3://KEY:SECRET@HOST:PORT/BUCKET/PREFIX?region=REGION"
BACKEND: Final = "sessions.object_storage.RecordingsStorage"


@dataclass(frozen=True)
class ObjectStore:
    """One bucket, or a folder of one."""

    endpoint: str
    bucket: str
    prefix: str
    key: str
    secret: str
    region: str
    style: str
    writable: bool

    @property
    def place(self) -> str:
        """Where it is, in words that hold no secret."""
        return "/".join(filter(None, (self.endpoint, self.bucket, self.prefix)))

    def as_django(self) -> dict[str, Any]:
        """An entry of Django's STORAGES."""
        options = {
            "endpoint_url": self.endpoint,
            "bucket_name": self.bucket,
            "location": self.prefix,
            "access_key": self.key or None,
            "secret_key": self.secret or None,
            "region_name": self.region,
            "addressing_style": self.style,
        }
        return {"BACKEND": BACKEND, "OPTIONS": options}


def parse(address: str) -> ObjectStore:
    """What an address says. ValueError says what is wrong with it, and never repeats it: it holds a secret."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"must be {SHAPE}; its host or port can't be read") from None
    if parts.scheme != SCHEME or not parts.hostname or parts.fragment:
        raise ValueError(f"must be {SHAPE}")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("needs both KEY and SECRET, or neither; percent-encode a / or @ in them")
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("must name a bucket after the host: 3 to 63 small letters, digits, dots and hyphens")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError("its prefix may hold letters, digits, . _ - and / between them")
    options = _options(parts)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "http" if options["tls"] == "0" else "https"
    return ObjectStore(
        endpoint=f"{scheme}://{host}" + (f":{port}" if port else ""),
        bucket=bucket,
        prefix=prefix,
        key=unquote(parts.username or ""),
        secret=unquote(parts.password or ""),
        region=options["region"],
        style=options["style"],
        writable=options["write"] == "1",
    )


def _options(parts: SplitResult) -> dict[str, str]:
    given = parse_qsl(parts.query, keep_blank_values=True)
    options = {"region": "us-east-1", "tls": "1", "style": "path", "write": "1"} | dict(given)
    unknown = set(options) - _OPTIONS
    if unknown or len(dict(given)) < len(given):
        raise ValueError(f"after ? it takes each of {', '.join(sorted(_OPTIONS))} once and nothing else")
    for name in ("tls", "write"):
        if options[name] not in ("0", "1"):
            raise ValueError(f"{name} is 0 or 1")
    if options["style"] not in ("path", "virtual"):
        raise ValueError("style is path or virtual")
    if not re.fullmatch(r"[a-z0-9-]+", options["region"]):
        raise ValueError("region holds small letters, digits and hyphens")
    return options
