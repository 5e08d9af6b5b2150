"""What the engine needs to know, as plain values: limits, timeouts, behaviour. Cut from config.yaml by Settings."""

from __future__ import annotations

from dataclasses import dataclass

SERVER_NAME = "Bascule"
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
)
DEFAULT_ACCESS_LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent $request_time '
    '"$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time '
    '"$upstream_scheme://$upstream_host$upstream_uri"'
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Defaults are APISIX's, but where it has none. A limit of 0 means none. Can be pickled."""

    # the client's side
    client_header_timeout_s: float = 60.0
    client_body_timeout_s: float = 60.0
    keepalive_timeout_s: float = 60.0
    keepalive_requests: int = 1000
    send_timeout_s: float = 10.0
    max_body_bytes: int = 0
    max_line_bytes: int = 16384  # the request line, with the URI in it (414)
    max_uri_bytes: int = 16384
    max_head_bytes: int = 65536  # all header lines together (431)
    max_header_fields: int = 100
    worker_connections: int = 10620
    worker_shutdown_timeout_s: float = 240.0
    # towards upstreams
    upstream_connect_timeout_s: float = 60.0
    upstream_send_timeout_s: float = 60.0
    upstream_read_timeout_s: float = 60.0
    upstream_ping_interval_s: float = 310.0  # HTTP/2: silence of a connection in use before a PING; 0: none
    upstream_keepalive_size: int = 320
    upstream_keepalive_idle_s: float = 60.0
    upstream_keepalive_requests: int = 1000
    # names: without servers, those of /etc/resolv.conf
    dns_servers: tuple[str, ...] = ()
    dns_valid_s: float | None = None
    dns_search: bool = True
    enable_ipv6: bool = True
    resolver_timeout_s: float = 5.0
    # what requests look like
    router_mode: str = "radixtree_host_uri"
    delete_uri_tail_slash: bool = False
    normalize_uri_like_servlet: bool = False
    match_uri_encoded_slash: bool = False
    trusted_addresses: tuple[str, ...] = ()
    # saturation: how long events may wait before load is shed (0: none is), and what the shed are told
    shed_lag_s: float = 0.0
    shed_retry_after_s: int = 1
    # what answers look like
    server_name: str = SERVER_NAME
    server_tokens: bool = True
    version: str = ""
    show_upstream_status: bool = False
    # choosing nodes
    zone: str | None = None
    sticky_secret: str | None = None
    # TLS
    tls_protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    tls_ciphers: str = CIPHERS
    tls_ciphersuites: str | None = None  # of TLS 1.3; None: OpenSSL's
    tls_tickets: bool = False
    tls_trusted: str = "system"  # or the path of a file with the CAs that upstreams are verified by
    tls_fallback_sni: str | None = None
    # logs
    access_log_enabled: bool = True
    access_log_path: str = "logs/access.log"
    access_log_format: str = DEFAULT_ACCESS_LOG_FORMAT
    access_log_escape: str = "default"
    access_log_buffer_bytes: int = 16384
    access_log_flush_s: float = 3.0
    error_log_level: str = "warn"
    # types of service discovery that are configured
    discovery: frozenset[str] = frozenset()
