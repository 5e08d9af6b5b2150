"""prometheus: counts and times requests, under APISIX's metric names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from bascule.observe.metrics import Counter, Histogram
from bascule.plugin import Config, Host, Plugin, Request

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
COMMON = ("route", "service", "consumer", "node", "request_type", "request_llm_model", "llm_model")
STATUS = (
    "code",
    "route",
    "matched_uri",
    "matched_host",
    *COMMON[1:],
    "response_source",
)
TYPED = ("type", *COMMON)
MAX_CELLS = 10_000
MAX_MODEL_CHARS = 128  # clients choose it

_Common = Literal["route", "service", "consumer", "node", "request_type", "request_llm_model", "llm_model"]
_Cache = _Common | Literal["route_id", "service_id"]
_Llm = Literal["route_id", "service_id", "consumer", "node", "request_type", "request_llm_model", "llm_model"]
_Matched = Literal["matched_uri", "matched_host"]


class DisabledLabels(Config):
    """Metric -> labels that are left empty, to have fewer series."""

    http_status: tuple[_Common | _Matched | Literal["response_source"], ...] = ()
    http_latency: tuple[_Common, ...] = ()
    bandwidth: tuple[_Common, ...] = ()
    llm_latency: tuple[_Llm, ...] = ()
    llm_prompt_tokens: tuple[_Llm, ...] = ()
    llm_prompt_tokens_dist: tuple[_Llm, ...] = ()
    llm_completion_tokens: tuple[_Llm, ...] = ()
    llm_completion_tokens_dist: tuple[_Llm, ...] = ()
    llm_active_connections: tuple[_Cache | _Matched, ...] = ()
    ai_cache_hits_total: tuple[_Cache, ...] = ()
    ai_cache_misses_total: tuple[_Cache, ...] = ()
    ai_cache_bypasses_total: tuple[_Cache, ...] = ()
    ai_cache_embedding_latency: tuple[_Cache, ...] = ()


class PrometheusConfig(Config):
    prefer_name: bool = False


class PrometheusMetadata(Config):
    disabled_labels: DisabledLabels = DisabledLabels()


class ExportAddr(Config):
    ip: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9091


class PrometheusAttr(Config):
    export_uri: str = "/apisix/prometheus/metrics"
    enable_export_server: bool = True
    export_addr: ExportAddr = ExportAddr()
    metric_prefix: str = "apisix_"
    refresh_interval: float = 15
    default_buckets: tuple[float, ...] = BUCKETS_MS


class Cell:
    """The series of one set of labels."""

    __slots__ = ("egress", "gateway_ms", "ingress", "request_ms", "status", "upstream_labels", "upstream_ms")

    def __init__(
        self,
        status: Counter,
        request_ms: Histogram,
        upstream_labels: tuple[str, ...],
        gateway_ms: Histogram,
        ingress: Counter,
        egress: Counter,
    ) -> None:
        self.status = status
        self.request_ms = request_ms
        self.upstream_labels = upstream_labels
        self.upstream_ms: Histogram | None = None  # made when an upstream was asked
        self.gateway_ms = gateway_ms
        self.ingress = ingress
        self.egress = egress


class Prometheus(Plugin):
    name = "prometheus"
    priority = 500
    version = 0.2
    run_policy = "prefer_route"
    Config = PrometheusConfig
    Metadata = PrometheusMetadata
    Attr = PrometheusAttr

    conf: PrometheusConfig

    def __init__(self, conf: PrometheusConfig, host: Host) -> None:
        super().__init__(conf, host)
        prefix = host.attr.get("metric_prefix", "apisix_")
        buckets = host.attr.get("default_buckets") or BUCKETS_MS
        metrics = host.metrics
        self._status = metrics.counter(f"{prefix}http_status", "HTTP status codes per service in APISIX", STATUS)
        self._latency = metrics.histogram(
            f"{prefix}http_latency", "HTTP request latency in milliseconds per service in APISIX", TYPED, buckets
        )
        self._bandwidth = metrics.counter(
            f"{prefix}bandwidth", "Total bandwidth in bytes consumed per service in APISIX", TYPED
        )
        self._by_name = conf.prefer_name
        self._metadata: PrometheusMetadata | None = None
        self._disabled = DisabledLabels()
        self._cells: dict[tuple[Any, ...], Cell] = {}

    def log(self, request: Request) -> None:
        metadata = self.host.metadata()
        if metadata is not self._metadata:
            self._metadata = metadata
            self._disabled = DisabledLabels() if metadata is None else metadata.disabled_labels
            self._cells.clear()
        status, source, node, uri, host, request_us, upstream_us, received, sent = request.exchange.record()
        route, consumer, variables = request.route, request.consumer, request.variables_set
        key = (
            status,
            None if route is None else route.name or route.id if self._by_name else route.id,
            None if route is None else route.service_name or route.service_id if self._by_name else route.service_id,
            uri,
            host,
            None if consumer is None else consumer.consumer_name,
            node,
            source,
            None if variables is None else _model_labels(variables),
        )
        cell = self._cells.get(key)
        if cell is None:
            cell = self._add_cell(key)
        cell.status.value += 1
        cell.ingress.value += received
        cell.egress.value += sent
        request_ms = request_us / 1000
        cell.request_ms.observe(request_ms)
        if upstream_us is None:
            cell.gateway_ms.observe(request_ms)
        else:
            upstream_ms = upstream_us / 1000
            if cell.upstream_ms is None:
                cell.upstream_ms = self._latency.child(cell.upstream_labels)
            cell.upstream_ms.observe(upstream_ms)
            cell.gateway_ms.observe(request_ms - upstream_ms)

    def _add_cell(self, key: tuple[Any, ...]) -> Cell:
        status, route, service, uri, host, consumer, node, source, models = key
        request_type, request_model, model = models or ("traditional_http", "", "")
        labels = {
            "code": str(status),
            "route": route or "",
            "matched_uri": uri or "",
            "matched_host": host or "",
            "service": service or "",
            "consumer": consumer or "",
            "node": node or "",
            "request_type": request_type,
            "request_llm_model": request_model,
            "llm_model": model,
            "response_source": _source(source, status),
        }
        off = self._disabled
        request_ms, upstream_ms, gateway_ms = (
            _values(TYPED, {**labels, "type": kind}, off.http_latency) for kind in ("request", "upstream", "apisix")
        )
        ingress, egress = (_values(TYPED, {**labels, "type": kind}, off.bandwidth) for kind in ("ingress", "egress"))
        cell = Cell(
            self._status.child(_values(STATUS, labels, off.http_status)),
            self._latency.child(request_ms),
            upstream_ms,
            self._latency.child(gateway_ms),
            self._bandwidth.child(ingress),
            self._bandwidth.child(egress),
        )
        # A bound for what clients can make up; the series themselves have theirs. Routes that are gone leave with it.
        if len(self._cells) >= MAX_CELLS:
            self._cells.clear()
        self._cells[key] = cell
        return cell


def _model_labels(variables: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """What AI plugins say of the request; None: an ordinary one."""
    kind = variables.get("request_type")
    if kind is None:
        return None
    requested, used = variables.get("request_llm_model"), variables.get("llm_model")
    return str(kind), str(requested or "")[:MAX_MODEL_CHARS], str(used or "")[:MAX_MODEL_CHARS]


def _values(names: tuple[str, ...], labels: dict[str, str], disabled: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("" if name in disabled else labels[name] for name in names)


def _source(source: Any, status: Any) -> str:
    """APISIX's words: upstream, apisix (a plugin or the router answered), nginx (the proxy itself had to)."""
    if source == "gateway":
        return "apisix" if status in (404, 500, 503) else "nginx"
    return "apisix" if source == "plugin" else str(source)
