"""Emergency playbooks as code: schema, loader, digest and the catalogue. Imports nothing of the broker."""
