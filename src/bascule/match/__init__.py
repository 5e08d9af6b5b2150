"""L3 match: the router (radix trees, candidates in order) and the expression language of vars.

Pure; the trees and the search are compiled. Vocabulary: a *pattern* is a route's path or host as written, a *candidate*
is one pattern of one route in a tree, an *entry* is a route with its conditions. Imports only `errors` and `wire`.
"""
