"""L3 balance: which node of an upstream is next: roundrobin, chash, least_conn, ewma.

Pure: clock and randomness come through constructors, health is the caller's, who names the nodes to pass over. Nodes
are indexes into the upstream's list. A *member* is a node with a weight above 0: the others are never picked.
"""
