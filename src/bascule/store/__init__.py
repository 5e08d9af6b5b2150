"""L6 store: moves resources, keys and revisions; validates nothing. file, sqlite, etcd."""
