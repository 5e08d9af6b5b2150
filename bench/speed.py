"""The scenarios that compare requests per CPU-second: gateway alone on core 0; load and upstream on core 1."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import Load, check_same_job, site_requests
from bench.pairs import Spread, compared, rounds
from bench.peers import PEERS, Peer, bascule_resources, start_bascule
from bench.site import API_KEY, HOSTS, Site, Upstream

GATEWAY_CPUS = "0"
LOAD_CPUS = "1"
CONNECTIONS = 64
PLUGINS = {
    "key-auth": {},
    "limit-count": {"count": 1_000_000_000, "time_window": 60, "key": "remote_addr"},
    "response-rewrite": {"headers": {"add": ["X-Bench: yes"]}},
}
OWN_FILE = str(Path(__file__).with_name("own_plugins.py"))
OWN_PLUGINS = {
    "own-auth": {},
    "own-limit": {"count": 1_000_000_000, "time_window": 60},
    "own-header": {"add": {"X-Bench": "yes"}},
}


@dataclass
class Bench:
    """What a scenario is given: where to work, whom to measure, how long, and where to say how it goes."""

    directory: Path
    peers: Sequence[str]
    rounds: int
    seconds: float
    say: Callable[[str], None]

    def folder(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(parents=True)
        return path

    def upstream(self, stack: ExitStack, scenario: str, cpus: str = LOAD_CPUS) -> Site:
        server = Upstream(self.directory / scenario / "upstream", cpus)
        stack.callback(server.stop)
        return server.site

    def start(self, stack: ExitStack, scenario: str, name: str, site: Site, cpus: str = GATEWAY_CPUS) -> Peer:
        peer = PEERS[name](site, self.folder(f"{scenario}/{name}"), cpus)
        stack.callback(peer.stop)
        return peer


def compare(
    bench: Bench, scenario: str, contenders: Sequence[tuple[str, Peer]], load: Load, reference: str = "nginx"
) -> dict[str, Any]:
    def measure(_: str, peer: Peer) -> Any:
        return load.sample(peer, cpus=LOAD_CPUS, connections=CONNECTIONS, seconds=bench.seconds)

    return {
        "kind": "speed",
        "reference": reference,
        "peers": compared(rounds(contenders, bench.rounds, measure, bench.say), reference),
    }


def _proxy(bench: Bench, scenario: str, target: str, headers: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    with ExitStack() as stack:
        site = bench.upstream(stack, scenario)
        contenders = [(name, bench.start(stack, scenario, name, site)) for name in bench.peers]
        for _, peer in contenders:
            check_same_job(peer, site)
        load = Load(bench.directory / scenario, "load", site_requests(target), headers)
        return compare(bench, scenario, contenders, load)


def plain(bench: Bench) -> dict[str, Any]:
    """Keep-alive on both sides, 128-byte answers."""
    return _proxy(bench, "plain", "items?id=7")


def close(bench: Bench) -> dict[str, Any]:
    """A new client connection for each request; keep-alive to the upstreams."""
    return _proxy(bench, "close", "items?id=7", [("Connection", "close")])


def big(bench: Bench) -> dict[str, Any]:
    """Keep-alive, 100 KB answers from a file."""
    return _proxy(bench, "big", "big")


def plugins(bench: Bench) -> dict[str, Any]:
    """Bascule with key-auth, limit-count and response-rewrite on every route, and with three plugins of one's own that
    do the same, against plain nginx."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "plugins")
        contenders = [("nginx", bench.start(stack, "plugins", "nginx", site))]
        for name, chosen in (("bascule + 3 plugins", PLUGINS), ("bascule + 3 of one's own", OWN_PLUGINS)):
            resources = bascule_resources(site, chosen)
            resources["consumers"] = [
                {"username": f"user{number}", "plugins": {next(iter(chosen)): {"key": f"{API_KEY}{number or ''}"}}}
                for number in range(100)
            ]
            folder = bench.folder(f"plugins/{len(contenders)}")
            gateway = start_bascule("bascule", resources, folder, GATEWAY_CPUS, plugins=[OWN_FILE])
            stack.callback(gateway.stop)
            contenders.append((name, gateway))
        for _, peer in contenders:
            check_same_job(peer, site)
        load = Load(bench.directory / "plugins", "load", site_requests("items?id=7"), [("apikey", API_KEY)])
        return compare(bench, "plugins", contenders, load)


def routes(bench: Bench) -> dict[str, Any]:
    """10,000 routes against a single one that takes everything: the same 1,000 requests, Bascule only."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "routes")
        one = bascule_resources(site)
        one["routes"] = [{"id": "all", "uri": "/*", "upstream_id": "pool"}]
        many = bascule_resources(site)
        many["routes"] = [
            {"id": f"r{host}-{path}", "uri": f"/service{path}/*", "host": f"h{host}.example", "upstream_id": "pool"}
            for host in range(100)
            for path in range(100)
        ]
        wanted = [(f"h{(number * 7) % 100}.example", f"/service{(number * 13) % 100}/items") for number in range(1000)]
        contenders: list[tuple[str, Peer]] = []
        for name, resources in (("1 route", one), ("10,000 routes", many)):
            peer = start_bascule(name, resources, bench.folder(f"routes/{len(contenders)}"), GATEWAY_CPUS)
            stack.callback(peer.stop)
            contenders.append((name, peer))
        return compare(bench, "routes", contenders, Load(bench.directory / "routes", "load", wanted), "1 route")


def latency(bench: Bench) -> dict[str, Any]:
    """What a gateway adds to the median latency at one connection, with load, gateway and upstream on one core."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "latency", GATEWAY_CPUS)
        contenders = [(name, bench.start(stack, "latency", name, site)) for name in bench.peers]
        load = Load(bench.directory / "latency", "load", [(HOSTS[3], "/p7/items?id=7")])
        added: dict[str, list[float]] = {name: [] for name, _ in contenders}
        for number in range(bench.rounds):
            direct = load.latency_us(site.ports[0], cpus=GATEWAY_CPUS, seconds=bench.seconds)
            for name, peer in contenders if number % 2 == 0 else list(reversed(contenders)):
                through = load.latency_us(peer.port, cpus=GATEWAY_CPUS, seconds=bench.seconds)
                added[name].append(through - direct)
                bench.say(f"  round {number + 1}/{bench.rounds} {name}: {through:.0f} µs, direct {direct:.0f} µs")
        result = {}
        for name, values in added.items():
            over = [mine - theirs for mine, theirs in zip(values, added["nginx"], strict=True)]
            result[name] = {"added_p50_us": vars(Spread.of(values)), "over_nginx_us": vars(Spread.of(over))}
        return {"kind": "latency", "peers": result}
