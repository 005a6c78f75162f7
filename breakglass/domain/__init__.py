"""Pure rules. Standard library only; `now` is always an argument."""
