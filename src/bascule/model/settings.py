"""config.yaml: APISIX's keys where they mean something here, and the section `bascule` for what is our own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from bascule.errors.sentences import Refused
from bascule.model.acme_settings import AcmeSection
from bascule.model.admin_settings import (
    Address,
    Admin,
    DataEncryption,
    Duration,
    Etcd,
    Port,
    Section,
    Size,
    StoreSection,
)
from bascule.model.attributes import Ip, Json
from bascule.model.engine_settings import DEFAULT_ACCESS_LOG_FORMAT, SERVER_NAME
from bascule.model.engine_settings import EngineSettings as EngineSettings
from bascule.model.ignored_settings import IgnoredKey
from bascule.model.listen import Listen, ListenAddress, addresses, as_list, listen
from bascule.model.load_shedding_settings import LoadShedding
from bascule.model.ssl_settings import SslSection

Count = Annotated[int, Field(ge=1)]
PluginName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _empty_list(value: object) -> object:
    return [] if value is None else value


class Router(Section):
    http: Literal["radixtree_host_uri", "radixtree_uri", "radixtree_uri_with_parameter"] = "radixtree_host_uri"


class ProxyProtocol(Section):
    """Ports, on every address, whose connections begin with a PROXY header."""

    listen_http_port: Port | None = None
    listen_https_port: Port | None = None


class Apisix(Section):
    node_listen: Annotated[tuple[Annotated[Listen, BeforeValidator(listen)], ...], BeforeValidator(as_list)] = (
        Listen(port=9080),
    )
    enable_http2: bool = True
    enable_ipv6: bool = True
    enable_server_tokens: bool = True
    show_upstream_status_in_response_header: bool = False
    delete_uri_tail_slash: bool = False
    normalize_uri_like_servlet: bool = False
    match_uri_encoded_slash: bool = False
    router: Router = Router()
    proxy_mode: Literal["http", "stream", "http&stream"] = "http"
    dns_resolver: tuple[str, ...] = ()
    dns_resolver_valid: Duration | None = None
    enable_resolv_search_opt: bool = True
    resolver_timeout: Annotated[Duration, Field(gt=0)] = 5.0
    trusted_addresses: tuple[Ip, ...] = ()
    proxy_protocol: ProxyProtocol = ProxyProtocol()
    ssl: SslSection = SslSection()
    status: Address = Address(port=7085)
    enable_admin: bool = True
    enable_control: bool = True
    control: Address = Address(port=9090)
    data_encryption: DataEncryption = DataEncryption()
    disable_upstream_healthcheck: bool = False


Provider = Literal["yaml", "json", "sqlite", "etcd"]


def _provider(value: object) -> object:
    if value == "xds":
        raise Refused('"xds" isn\'t served; use "etcd", "sqlite", "yaml" (apisix.yaml) or "json" (apisix.json)')
    return value


class RoleSection(Section):
    """No provider: etcd when `deployment.etcd` is there, and for the roles that need something shared; else sqlite."""

    config_provider: Annotated[Provider | None, BeforeValidator(_provider)] = None


class Deployment(Section):
    role: Literal["traditional", "control_plane", "data_plane"] = "traditional"
    role_traditional: RoleSection = RoleSection()
    role_control_plane: RoleSection = RoleSection()
    role_data_plane: RoleSection = RoleSection()
    admin: Admin = Admin()
    etcd: Etcd | None = None


class Event(Section):
    worker_connections: Count = 10620


class UpstreamKeepalive(Section):
    keepalive: Count = 320
    keepalive_requests: Count = 1000
    keepalive_timeout: Duration = 60.0


class Http(Section):
    access_log: str = "logs/access.log"
    access_log_format: str = DEFAULT_ACCESS_LOG_FORMAT
    access_log_format_escape: Literal["default", "json", "none"] = "default"
    access_log_buffer: Size = 16384
    enable_access_log: bool = True
    client_header_timeout: Duration = 60.0
    client_body_timeout: Duration = 60.0
    client_max_body_size: Size = 0
    keepalive_timeout: Duration = 60.0
    keepalive_requests: Count = 1000
    send_timeout: Duration = 10.0
    upstream: UpstreamKeepalive = UpstreamKeepalive()


def _workers(value: object) -> object:
    return 0 if value == "auto" else value


class NginxConfig(Section):
    error_log: str | None = None
    error_log_level: Literal["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"] = "warn"
    worker_processes: Annotated[int, Field(ge=0, le=1024), BeforeValidator(_workers)] = 0
    worker_rlimit_nofile: Count = 20480
    worker_shutdown_timeout: Duration = 240.0
    enable_cpu_affinity: bool = False
    event: Event = Event()
    http: Http = Http()


class Bascule(Section):
    """Our own. `plugins`: packages or files that hold a user's plugins; files relative to config.yaml."""

    plugins: Annotated[tuple[str, ...], BeforeValidator(_empty_list)] = ()
    max_uri_bytes: Annotated[Size, Field(ge=64, le=1 << 20)] = 16384
    # Towards upstreams: silence of a connection in use before a PING; 0: none. Many servers of gRPC take more than one
    # in 5 minutes for an attack.
    http2_ping_interval: Duration = 310.0
    max_head_bytes: Annotated[Size, Field(ge=1024, le=16 << 20)] = 65536
    max_header_fields: Annotated[int, Field(ge=1, le=128)] = 100
    access_log_flush: Duration = 3.0
    # How many counters the shared table is meant for; memory that none has touched costs nothing.
    shared_counters: Annotated[int, Field(ge=1024, le=1 << 26)] = 1 << 20
    listen_backlog: Annotated[int, Field(ge=1, le=65535)] = 4096
    server_name: Annotated[str, Field(min_length=1, pattern=r"^[!-~ ]+$")] = SERVER_NAME
    store: StoreSection = StoreSection()
    # How often secret managers are asked again for what `$secret://` references stand for.
    secret_refresh: Annotated[Duration, Field(gt=0)] = 300.0
    acme: AcmeSection = AcmeSection()
    load_shedding: LoadShedding = LoadShedding()
    # Where this gateway stands: nodes whose metadata names the same zone go first.
    zone: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    # What cookies of sticky sessions are signed with; gateways that share it take each other's.
    sticky_secret: Annotated[str, Field(min_length=16, max_length=1024)] | None = None


class Exporter(Section):
    """plugin_attr.prometheus; what else stands there is the plugin's own affair."""

    model_config = ConfigDict(extra="ignore")

    enable_export_server: bool = True
    export_uri: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/apisix/prometheus/metrics"
    export_addr: Address = Address(port=9091)


class PluginAttr(BaseModel):
    """A mapping for each plugin that has one; only the exporter's is read by the gateway itself."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Json]

    prometheus: Exporter = Exporter()


class Settings(Section):
    """The whole of config.yaml, checked. What a section lacks has its default."""

    apisix: Apisix = Apisix()
    deployment: Deployment = Deployment()
    nginx_config: NginxConfig = NginxConfig()
    plugins: tuple[PluginName, ...] | None = None
    plugin_attr: PluginAttr = PluginAttr()
    discovery: dict[str, Any] = Field(default_factory=dict)  # by type; each checks its own section
    bascule: Bascule = Bascule()
    _ignored: tuple[IgnoredKey, ...] = PrivateAttr(default=())
    _given_attr: dict[str, Json] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.bascule.acme.names and not self.apisix.ssl.enable:
            raise Refused("bascule.acme obtains certificates, and apisix.ssl.enable is false: nothing would serve them")
        return self

    def noted(self, ignored: tuple[IgnoredKey, ...], attr: dict[str, Json]) -> Settings:
        """The same settings, with what the document said beside them."""
        copy = self.model_copy()
        copy._ignored, copy._given_attr = ignored, attr
        return copy

    @property
    def ignored(self) -> tuple[IgnoredKey, ...]:
        """Keys that were given, or are on by default, and mean nothing here."""
        return self._ignored

    @property
    def attr(self) -> dict[str, Json]:
        """plugin_attr as it was given: plugin name -> attributes."""
        return self._given_attr

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        apisix = self.apisix
        found = addresses(apisix.node_listen, apisix.enable_ipv6, apisix.enable_http2)
        if apisix.ssl.enable:
            found += addresses(apisix.ssl.listen, apisix.enable_ipv6, apisix.enable_http2, tls=True)
        proxies = apisix.proxy_protocol
        for port, tls in ((proxies.listen_http_port, False), (proxies.listen_https_port, True)):
            if port is not None:
                entry = (Listen(port=port),)
                found += addresses(entry, apisix.enable_ipv6, apisix.enable_http2, proxy_protocol=True, tls=tls)
        return found

    @property
    def provider(self) -> Provider:
        """Where the resources are."""
        role = self.deployment.role
        section: RoleSection = getattr(self.deployment, f"role_{role}")
        if section.config_provider is not None:
            return section.config_provider
        return "etcd" if self.deployment.etcd is not None or role != "traditional" else "sqlite"

    @property
    def etcd(self) -> Etcd:
        return self.deployment.etcd or Etcd()

    @property
    def serves_admin(self) -> bool:
        return self.apisix.enable_admin and self.deployment.role != "data_plane"

    @property
    def serves_traffic(self) -> bool:
        return self.deployment.role != "control_plane"

    def engine(self, version: str) -> EngineSettings:
        apisix, http, own = self.apisix, self.nginx_config.http, self.bascule
        return EngineSettings(
            client_header_timeout_s=http.client_header_timeout,
            client_body_timeout_s=http.client_body_timeout,
            keepalive_timeout_s=http.keepalive_timeout,
            keepalive_requests=http.keepalive_requests,
            send_timeout_s=http.send_timeout,
            max_body_bytes=http.client_max_body_size,
            max_line_bytes=own.max_uri_bytes,
            max_uri_bytes=own.max_uri_bytes,
            max_head_bytes=own.max_head_bytes,
            max_header_fields=own.max_header_fields,
            worker_connections=self.nginx_config.event.worker_connections,
            worker_shutdown_timeout_s=self.nginx_config.worker_shutdown_timeout,
            upstream_ping_interval_s=own.http2_ping_interval,
            upstream_keepalive_size=http.upstream.keepalive,
            upstream_keepalive_idle_s=http.upstream.keepalive_timeout,
            upstream_keepalive_requests=http.upstream.keepalive_requests,
            dns_servers=apisix.dns_resolver,
            dns_valid_s=apisix.dns_resolver_valid,
            dns_search=apisix.enable_resolv_search_opt,
            enable_ipv6=apisix.enable_ipv6,
            resolver_timeout_s=apisix.resolver_timeout,
            router_mode=apisix.router.http,
            delete_uri_tail_slash=apisix.delete_uri_tail_slash,
            normalize_uri_like_servlet=apisix.normalize_uri_like_servlet,
            match_uri_encoded_slash=apisix.match_uri_encoded_slash,
            trusted_addresses=apisix.trusted_addresses,
            server_name=own.server_name,
            server_tokens=apisix.enable_server_tokens,
            version=version,
            show_upstream_status=apisix.show_upstream_status_in_response_header,
            tls_protocols=apisix.ssl.ssl_protocols,
            tls_ciphers=apisix.ssl.ssl_ciphers,
            tls_ciphersuites=apisix.ssl.ssl_ciphersuites,
            tls_tickets=apisix.ssl.ssl_session_tickets,
            tls_trusted=apisix.ssl.ssl_trusted_certificate,
            tls_fallback_sni=apisix.ssl.fallback_sni,
            access_log_enabled=http.enable_access_log,
            access_log_path=http.access_log,
            access_log_format=http.access_log_format,
            access_log_escape=http.access_log_format_escape,
            access_log_buffer_bytes=http.access_log_buffer,
            access_log_flush_s=own.access_log_flush,
            error_log_level=self.nginx_config.error_log_level,
            shed_lag_s=own.load_shedding.max_lag if own.load_shedding.enabled else 0.0,
            shed_retry_after_s=int(own.load_shedding.retry_after),
            discovery=frozenset(self.discovery),
            zone=own.zone,
            sticky_secret=own.sticky_secret,
        )
