"""L6 store: moves resources, keys and revisions; validates nothing. file now; sqlite and etcd later."""
