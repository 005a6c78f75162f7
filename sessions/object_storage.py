"""Django's storage of recordings in an S3-compatible object store: django-storages, with bounds on time and memory."""

from __future__ import annotations

from typing import Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from storages.backends.s3 import S3Storage

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 20
PART: Final = 16 * 1024 * 1024


class RecordingsStorage(S3Storage):  # type: ignore[misc]  # untyped
    """What is larger than a part goes in parts, one after the other. No request waits for ever."""

    def __init__(self, *, addressing_style: str = "path", **options: Any) -> None:
        client = Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": addressing_style},
            # What AWS alone understands is left out: all is read back and hashed anyway.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
        super().__init__(client_config=client, transfer_config=parts, file_overwrite=True, **options)
