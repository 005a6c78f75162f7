"""What a verified second factor leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class FactorProof:
    """That a person gave a second factor just now. `name` is unique to this one use of it."""

    name: str
    persistent_id: str
    at: datetime
