"""What clients send: closed shapes, so that a mistyped field is told and not ignored."""

from __future__ import annotations

from typing import Any

from ninja import Schema
from pydantic import ConfigDict, field_validator


class Filter(Schema):
    """Query fields. No text holds NUL, which PostgreSQL can't take."""

    @field_validator("*", mode="after", check_fields=False)
    @classmethod
    def _no_nul(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\x00" in text for text in texts):
            raise ValueError("holds a NUL character: remove it")
        return value


class Input(Filter):
    """A JSON body. An unknown field is refused."""

    model_config = ConfigDict(extra="forbid")
