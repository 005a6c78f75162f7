"""The evidence bundle of a grant: everything about it in one signed zip that a stranger can check."""
