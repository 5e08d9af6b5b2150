"""L3 balance: which node of an upstream is next: roundrobin, chash, least_conn, ewma, p2c.

Compiled, since it works for each request. Pure: clock and randomness come through constructors, health is the caller's,
who names the nodes to pass over. Nodes are indexes into the upstream's list. A *member* is a node with a weight above
0: the others are never picked. A node is *passed over* until further notice, and *tried* in one request that is to go
elsewhere.
"""
