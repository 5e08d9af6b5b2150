"""The gateways compared: the same site, forwarded headers, keep-alive to the upstreams, one worker, no access log."""

import json
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench import envoy as envoy_config
from bench.site import HOSTS, PATHS, Site
from tests.servers.certificates import Pair
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

BIN = Path(__file__).parent.parent / ".venv-bench" / "bin"


class Peer:
    """One running gateway: `port` it listens on, `pid` whose family's CPU time counts. `tls_port`: 0 without."""

    def __init__(self, name: str, port: int, process: ServerProcess, tls_port: int = 0):
        self.name = name
        self.tls_port = tls_port
        self.port = port
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.stop(timeout_s=10)


def start_peer(
    name: str,
    argv: list[str],
    directory: Path,
    port: int,
    cpus: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Peer:
    """Once it listens on `port`. `cpus`: those that it may use, as taskset names them."""
    prefix = [] if cpus is None else ["taskset", "-c", cpus]
    process = ServerProcess([*prefix, *argv], directory / "output.log", cwd=directory, env=env)
    process.wait_connectable(port)
    return Peer(name, port, process)


def nginx(site: Site, directory: Path, cpus: str, pair: Pair | None = None, *, http2: bool = False) -> Peer:
    """nginx with buffers that hold a 100 KB body, so that it never waits for a slow reader or writes to disk.

    With `pair` it serves TLS too.
    """
    port = free_port()
    tls_port = free_port() if pair else 0
    options = " reuseport backlog=4096"
    protocols = "ssl http2" if http2 else "ssl"
    secure = (
        f"listen 127.0.0.1:{tls_port} {protocols}{{options}};\n"
        f"    ssl_certificate {pair.cert}; ssl_certificate_key {pair.key};\n"
        "    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:all:10m; ssl_session_tickets off;\n"
        if pair
        else "{options:.0s}"
    )
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port}{options if host == HOSTS[0] else ''}; server_name {host};\n"
        + f"    {secure.format(options=options if host == HOSTS[0] else '')}"
        + "".join(f"    location {path} {{ proxy_pass http://pool; }}\n" for path in PATHS)
        + "    location / { return 404; }\n}\n"
        for host in HOSTS
    )
    conf = directory / "nginx.conf"
    conf.write_text(f"""
daemon off; user root; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_buffer_size 16k; proxy_buffers 16 16k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
    upstream pool {{
        server 127.0.0.1:{site.ports[0]} weight=2; server 127.0.0.1:{site.ports[1]} weight=1;
        keepalive 320; keepalive_requests 100000000; keepalive_timeout 600s;
    }}
    {servers}
}}
""")
    peer = start_peer("nginx", ["/usr/sbin/nginx", "-p", str(directory), "-c", str(conf)], directory, port, cpus)
    peer.tls_port = tls_port
    return peer


def haproxy(site: Site, directory: Path, cpus: str, pair: Pair | None = None) -> Peer:
    """With `pair` it serves HTTP/2 over TLS too."""
    port = free_port()
    tls_port = free_port() if pair else 0
    secure = ""
    if pair:
        both = directory / "pair.pem"
        both.write_text(pair.cert.read_text() + pair.key.read_text())
        secure = f"bind 127.0.0.1:{tls_port} ssl crt {both} alpn h2,http/1.1 backlog 4096"
    (directory / "routes.map").write_text("".join(f"{host}{path} pool\n" for host in HOSTS for path in PATHS))
    # haproxy refuses to start when it can't have two open files for each connection.
    max_connections = min(30_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000) // 2)
    conf = directory / "haproxy.cfg"
    conf.write_text(f"""
global
    nbthread 1
    maxconn {max_connections}
defaults
    mode http
    timeout connect 60s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    http-reuse always
frontend main
    bind 127.0.0.1:{port} backlog 4096
    {secure}
    option forwardfor
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    use_backend %[base,map_beg({directory}/routes.map,none)]
backend pool
    balance roundrobin
    server one 127.0.0.1:{site.ports[0]} weight 200 pool-max-conn 320
    server two 127.0.0.1:{site.ports[1]} weight 100 pool-max-conn 320
backend none
    http-request deny deny_status 404
""")
    peer = start_peer("haproxy", ["/usr/sbin/haproxy", "-db", "-f", str(conf)], directory, port, cpus)
    peer.tls_port = tls_port
    return peer


def envoy(site: Site, directory: Path, cpus: str, *, grpc: bool = False) -> Peer:
    port = free_port()

    def header(name: str, value: str) -> dict[str, Any]:
        return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}

    routes = {
        "virtual_hosts": [
            {
                "name": host,
                "domains": [host],
                "routes": [{"match": {"prefix": path}, "route": {"cluster": "pool"}} for path in PATHS],
            }
            for host in HOSTS
        ],
        "request_headers_to_add": [
            header("X-Real-IP", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            header("X-Forwarded-Host", "%REQ(:authority)%"),
            header("X-Forwarded-Port", "%DOWNSTREAM_LOCAL_PORT%"),
        ],
    }
    endpoints = [
        {"endpoint": {"address": envoy_config.address(number)}, "load_balancing_weight": weight}
        for number, weight in zip(site.ports, (2, 1), strict=True)
    ]
    cluster = envoy_config.cluster(endpoints)
    if grpc:
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{envoy_config.TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    manager = envoy_config.manager(
        routes, {"suppress_envoy_headers": True}, use_remote_address=True, generate_request_id=False
    )
    argv = envoy_config.command(BIN / "envoy", directory, port, manager, cluster, "warning")
    return start_peer("envoy", argv, directory, port, cpus)


def traefik(site: Site, directory: Path, cpus: str) -> Peer:
    port = free_port()
    routers = {
        f"r{number}-{index}": {
            "rule": f"Host(`{host}`) && PathPrefix(`{path}`)",
            "service": "pool",
            "middlewares": ["port"],
        }
        for number, host in enumerate(HOSTS)
        for index, path in enumerate(PATHS)
    }
    services: dict[str, Any] = {
        f"u{index}": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{number}"}]}}
        for index, number in enumerate(site.ports)
    }
    services["pool"] = {"weighted": {"services": [{"name": "u0", "weight": 2}, {"name": "u1", "weight": 1}]}}
    headers = {"port": {"headers": {"customRequestHeaders": {"X-Forwarded-Port": str(port)}}}}
    dynamic = {"http": {"routers": routers, "services": services, "middlewares": headers}}
    (directory / "dynamic.yaml").write_text(yaml.safe_dump(dynamic))
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {"main": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(directory / "dynamic.yaml"), "watch": False}},
        "serversTransport": {"maxIdleConnsPerHost": 320},
        "log": {"level": "ERROR"},
    }
    conf = directory / "traefik.yaml"
    conf.write_text(yaml.safe_dump(static))
    return start_peer(
        "traefik", [str(BIN / "traefik"), f"--configFile={conf}"], directory, port, cpus, {"GOMAXPROCS": "1"}
    )


def caddy(site: Site, directory: Path, cpus: str) -> Peer:
    port = free_port()
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{number}"} for number in site.ports],
        "load_balancing": {"selection_policy": {"policy": "weighted_round_robin", "weights": [2, 1]}},
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 320}, "compression": False},
        "headers": {"request": {"set": {"X-Real-IP": ["{http.request.remote.host}"], "X-Forwarded-Port": [str(port)]}}},
    }
    routes = [
        {
            "match": [{"host": [host]}],
            "handle": [
                {
                    "handler": "subroute",
                    "routes": [
                        {"match": [{"path": [f"{path}*"]}], "handle": [proxy], "terminal": True} for path in PATHS
                    ]
                    + [{"handle": [{"handler": "static_response", "status_code": 404}]}],
                }
            ],
        }
        for host in HOSTS
    ]
    config = {
        "admin": {"disabled": True},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "http": {
                "servers": {
                    "main": {
                        "listen": [f"127.0.0.1:{port}"],
                        "routes": routes,
                        "automatic_https": {"disable": True},
                    }
                }
            }
        },
    }
    conf = directory / "caddy.json"
    conf.write_text(json.dumps(config))
    env = {
        "GOMAXPROCS": "1",
        "XDG_DATA_HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
        "HOME": str(directory),
    }
    return start_peer("caddy", [str(BIN / "caddy"), "run", "--config", str(conf)], directory, port, cpus, env)


def bascule_resources(site: Site, plugins: Mapping[str, Any] | None = None, *, scheme: str = "http") -> dict[str, Any]:
    """The site as an apisix.yaml; `plugins` go on every route."""
    nodes = {f"127.0.0.1:{site.ports[0]}": 2, f"127.0.0.1:{site.ports[1]}": 1}
    routes = [
        {
            "id": f"r{number}-{index}",
            "uri": f"{path}*",
            "host": host,
            "upstream_id": "pool",
            **({"plugins": dict(plugins)} if plugins else {}),
        }
        for number, host in enumerate(HOSTS)
        for index, path in enumerate(PATHS)
    ]
    pool = {"id": "pool", "type": "roundrobin", "scheme": scheme, "nodes": nodes}
    pool["keepalive_pool"] = {"size": 320, "idle_timeout": 600, "requests": 100_000_000}
    return {"upstreams": [pool], "routes": routes}


def start_bascule(
    name: str,
    resources: Mapping[str, Any],
    directory: Path,
    cpus: str,
    *,
    tls_port: int = 0,
    plugins: Sequence[str] = (),
    **options: Any,
) -> Peer:
    """The gateway with one worker; its supervisor counts too. `tls_port`: it serves TLS there. `plugins`: files."""
    config: dict[str, Any] = {
        "bascule": {"plugins": list(plugins)},
        "nginx_config": {
            "error_log_level": "warn",
            "worker_rlimit_nofile": 65536,
            "event": {"worker_connections": 32768},
            "http": {"enable_access_log": False, "keepalive_timeout": "600s", "keepalive_requests": 100_000_000},
        },
    }
    if tls_port:
        config["apisix"] = {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": tls_port}]}}
    text = json.dumps(resources)  # JSON is YAML
    server = Gateway(directory, text, config, prefix=("taskset", "-c", cpus), **options)
    return Peer(name, server.port, server.process, tls_port)


def bascule(site: Site, directory: Path, cpus: str, *, grpc: bool = False) -> Peer:
    return start_bascule("bascule", bascule_resources(site, scheme="grpc" if grpc else "http"), directory, cpus)


PEERS: dict[str, Callable[[Site, Path, str], Peer]] = {
    "nginx": nginx,
    "bascule": bascule,
    "haproxy": haproxy,
    "envoy": envoy,
    "traefik": traefik,
    "caddy": caddy,
}


def available() -> list[str]:
    """The peers that are installed here."""
    where = {"nginx": "/usr/sbin/nginx", "haproxy": "/usr/sbin/haproxy", "bascule": None}
    return [name for name in PEERS if (path := where.get(name, str(BIN / name))) is None or os.access(path, os.X_OK)]
