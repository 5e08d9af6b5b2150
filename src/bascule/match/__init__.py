"""L3 match: the router (radix trees, candidates in order) and the expression language of vars. Pure; the tree is compiled.
"""
