#!/usr/bin/env python
"""The one command line of the project."""

import os
import sys


def main() -> None:
    from breakglass.demo import place

    if sys.argv[1:] == ["demo"]:
        from breakglass.demo.supervisor import main as demo

        sys.exit(demo())
    if place.adopt():
        print("No BREAKGLASS_* setting is given: this speaks to the demo.", file=sys.stderr)  # noqa: T201
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "breakglass.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
