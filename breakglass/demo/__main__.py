"""`python -m breakglass.demo`: what `make demo` and `manage.py demo` run."""

from __future__ import annotations

import sys

from breakglass.demo.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
