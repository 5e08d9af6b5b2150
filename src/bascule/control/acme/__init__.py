"""Certificates that the gateway obtains and renews by itself, by ACME (RFC 8555), in the supervisor.

order: what an authority is asked for one certificate; challenge: how it sees that a name leads to this gateway.
"""
