"""The web page as uvicorn runs it, on the bench's database: `python -m tests.bench.watch_web DATABASE PORT`."""

from __future__ import annotations

import os
import sys

import uvicorn


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = sys.argv[1]
    uvicorn.run(
        "breakglass.asgi:application", port=int(sys.argv[2]), log_level="warning", proxy_headers=False
    )


if __name__ == "__main__":
    main()
