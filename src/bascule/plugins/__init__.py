"""L5 plugins: one file per plugin, islands; found by name through the registry, never imported statically."""
