"""L0 errors: configuration errors with paths, gateway errors with whose fault they are. Imports nothing of bascule."""
