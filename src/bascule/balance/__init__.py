"""L3 balance: which node is next: roundrobin, chash, least_conn, ewma. Pure."""
