"""L9 cli: run, check, version; the composition root."""
