"""What can go wrong with etcd, in sentences for the operator."""

from __future__ import annotations

from bascule.store.entry import StoreUnavailable

# google.rpc.Code: the cluster is in trouble; whether the request was done can't be told from these.
_TROUBLED = frozenset({1, 2, 4, 13, 14})
_NO_USER = "user name is empty"


class EtcdUnreachable(StoreUnavailable):
    """No endpoint answered, or none that is well. `maybe_done`: the request may have been carried out all the same."""

    def __init__(self, text: str, *, maybe_done: bool = False) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done


class EtcdRefused(StoreUnavailable):
    """etcd answered no: nothing was done. `reason`: its own words."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class Compacted(EtcdRefused):
    """What was asked for lies before the history that etcd keeps."""


def is_trouble(code: int) -> bool:
    return code in _TROUBLED


def is_stale_token(reason: str) -> bool:
    """A new token helps: it has expired, etcd was restarted, its users were changed, or it asks for users only now."""
    return any(word in reason for word in ("invalid auth token", "revision of auth store is old", _NO_USER))


def refusal(reason: str, user: str | None, prefix: str) -> EtcdRefused:
    if "has been compacted" in reason:
        return Compacted(f"etcd refuses: {reason}", reason)
    return EtcdRefused(_sentence(reason, user, prefix), reason)


def _sentence(reason: str, user: str | None, prefix: str) -> str:
    if "authentication failed" in reason:
        return f"etcd refuses the user {user!r}: wrong name or password (deployment.etcd.user and password)"
    if _NO_USER in reason:
        return "etcd asks for a user: set deployment.etcd.user and deployment.etcd.password"
    if "permission denied" in reason:
        return f"etcd doesn't let the user {user!r} do this: its role needs the permission readwrite on {prefix}/"
    if "too large" in reason or "message larger than max" in reason:
        return (
            "etcd refuses a change of this size at once (1.5 MiB if nothing else is set): "
            "raise its --max-request-bytes, or change less at once"
        )
    if "too many operations" in reason:
        return "etcd refuses so many operations at once: its --max-txn-ops must be 128 (its default) or more"
    if "space exceeded" in reason:
        return (
            "etcd's database is full, it takes no writes: compact and defragment it, then `etcdctl alarm disarm` "
            "(or raise its --quota-backend-bytes)"
        )
    return f"etcd refuses: {reason}"
