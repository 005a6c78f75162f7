"""The digest that names one exact playbook text.

Promise: two specs have the same digest if and only if every field, the runbook text included, is the same.
The digest is the lower-case hex SHA-256 of the canonical JSON of the *validated* spec: every field present
(defaults filled in), keys sorted by code point, separators `,` and `:` without blanks, UTF-8 unescaped, lists in
the order written, no trailing newline. So a comment, the order of keys or the quoting in the YAML file changes
nothing, and a changed word in the runbook changes everything. A field that joined the schema later is left out
where it says what its absence said before, so that no approved digest changes. `sha256sum` over the output of
`check_playbooks --canonical SLUG` gives the same value.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from playbooks.schema import PlaybookSpec

# Fields that joined later, by their place, and the value that a spec without them stands for. Never edit a line.
JOINED_LATER: dict[tuple[str, ...], Any] = {
    ("duration", "extensions"): 1,
    ("files",): None,
    ("retention_days",): None,
    ("legal_hold",): False,
}


def canonical_bytes(spec: PlaybookSpec) -> bytes:
    """The exact bytes that are hashed."""
    plain = spec.model_dump(mode="json")
    for (*path, name), absent in JOINED_LATER.items():
        place = plain
        for step in path:
            place = place[step]
        if place[name] == absent:
            del place[name]
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(spec: PlaybookSpec) -> str:
    """64 lower-case hex digits that name this spec and no other."""
    return hashlib.sha256(canonical_bytes(spec)).hexdigest()
