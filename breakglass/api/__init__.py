"""The REST face of the services: a file per noun. It decides nothing; it asks the same rules as the pages."""
