"""From the model of an upstream to what the engine uses, refusing what it can't serve."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, fields
from typing import Any

from bascule.errors.sentences import nearest
from bascule.model.attributes import TimeoutConf
from bascule.model.discovery import Service, service_of
from bascule.model.upstream import KeepalivePool, Upstream
from bascule.snapshot.compiled_upstream import ClientTls, CompiledUpstream
from bascule.snapshot.discovered import Discovered
from bascule.snapshot.node_list import nodes_of
from bascule.snapshot.timeout import Timeout

_POOL = KeepalivePool()
SECURE = ("https", "grpcs")
_COMPARED = tuple(field.name for field in fields(CompiledUpstream) if field.name != "runtime")


@dataclass(frozen=True, slots=True)
class Served:
    """What this gateway can do for an upstream."""

    schemes: frozenset[str] = frozenset({"http", "https", "grpc", "grpcs"})
    balancers: frozenset[str] = frozenset({"roundrobin", "chash", "least_conn", "ewma", "p2c"})
    discovery: Set[str] = frozenset()  # what is configured now: it may change
    pool: KeepalivePool = _POOL  # of an upstream that says nothing about its own
    discovered: Discovered | None = None  # None: no node is known here


def timeout_of(conf: TimeoutConf | None) -> Timeout | None:
    return None if conf is None else Timeout(conf.connect, conf.send, conf.read)


def not_served(upstream: Upstream, served: Served) -> Iterator[tuple[str, str]]:
    """(attribute, sentence) of each thing that can't be served."""
    if upstream.scheme not in served.schemes:
        yield "scheme", f'"{upstream.scheme}" is not served yet; served: {", ".join(sorted(served.schemes))}'
    if upstream.type not in served.balancers:
        known = sorted(served.balancers)
        yield "type", f'there is no balancer "{upstream.type}"{nearest(upstream.type, known)}'
    wanted = upstream.discovery_type
    if wanted is not None and wanted not in served.discovery:
        known = sorted(served.discovery)
        if known:
            yield "discovery_type", f'"{wanted}" is not configured under "discovery"{nearest(wanted, known)}'
        else:
            yield "discovery_type", f'"{wanted}" is not configured: config.yaml has no section "discovery"'


def compile_upstream(
    conf: Upstream,
    key: str,
    id: str | None,
    previous: CompiledUpstream | None,
    default_pool: KeepalivePool = _POOL,
    discovered: Discovered | None = None,
) -> CompiledUpstream:
    """`previous` itself when nothing changed for the engine, so that its balancer and pools are kept."""
    default_port = 443 if conf.scheme in SECURE else 80
    pool = conf.keepalive_pool or default_pool
    service = None if conf.discovery_type is None else _service(conf)
    made = CompiledUpstream(
        key=key,
        id=id,
        service=service,
        nodes=nodes_of(conf.node_list(), default_port, () if previous is None else previous.nodes)
        if service is None
        else discovered.nodes(service, default_port)
        if discovered is not None
        else (),
        type=conf.type,
        hash_on=conf.hash_on,
        hash_key=conf.key,
        scheme=conf.scheme,
        http2=conf.http2,
        pass_host=conf.pass_host,
        upstream_host=conf.upstream_host,
        retries=conf.retries,
        retry_timeout_s=conf.retry_timeout or 0.0,
        retry_policy=conf.retry_policy,
        outlier_detection=conf.outlier_detection,
        breaker=conf.breaker,
        timeout=timeout_of(conf.timeout),
        keepalive_size=pool.size,
        keepalive_idle_s=pool.idle_timeout,
        keepalive_requests=pool.requests,
        sticky=conf.sticky,
        slow_start=conf.slow_start,
        locality=conf.locality,
        proxy_protocol=int((conf.proxy_protocol or "v0")[1:]),
        tls=client_tls(conf),
        name=conf.name,
        labels=conf.labels,
        passive=None if conf.checks is None else conf.checks.passive,
    )
    return previous if previous is not None and _same(made, previous) else made


def _service(conf: Upstream) -> Service | None:
    return service_of(conf.model_dump(include={"service_name", "discovery_type", "discovery_args"}))


def client_tls(conf: Upstream) -> ClientTls | None:
    if conf.scheme not in SECURE:
        return None
    if conf.tls is None:
        return ClientTls()
    tls = conf.tls
    return ClientTls(
        verify=tls.verify if "verify" in tls.model_fields_set else None,
        ca=tls.ca_certs,
        cert=tls.client_cert,
        key=tls.client_key,
        cert_id=tls.client_cert_id,
        protocols=tls.ssl_protocols or (),
    )


def _same(one: CompiledUpstream, other: CompiledUpstream) -> bool:
    return all(_get(one, name) == _get(other, name) for name in _COMPARED)


def _get(upstream: CompiledUpstream, name: str) -> Any:
    return getattr(upstream, name)
