"""Results as tables and as a picture: docs/performance.md, docs/performance.svg, and the short table of README.md."""

import re
from pathlib import Path
from typing import Any

from bench.dead_node import NAMES as DEAD_NODE

ROOT = Path(__file__).parent.parent
TITLES = {
    "plain": "Plain keep-alive proxy",
    "plugins": "Three Python plugins against plain nginx",
    "close": "A new client connection for each request",
    "big": "100 KB bodies",
    "latency": "Added median latency, one connection, all on one core",
    "routes": "10,000 routes against one",
    "grpc": "Unary gRPC calls, 8 connections × 32 streams, HTTP/2 in clear text",
    "idle": "An idle worker",
    "connections": "10,000 idle keep-alive connections",
    "tls": "TLS 1.3, keep-alive",
    "tls-handshakes": "A full TLS 1.3 handshake for each request",
    "tls-connections": "10,000 idle TLS connections",
    "certificates": "10,000 certificates",
    "websocket": "WebSockets: echoed messages of 128 bytes",
    "tables": "100,000 routes",
    "balance": "Choosing among 1,000 nodes",
    "dead-node": "A dead node added, once it is passed over",
    "health": "A node dies",
    "propagation": "Live configuration: 10,000 routes, two workers, the embedded store",
}
NAMES = {
    "bascule": "Bascule",
    "envoy": "Envoy",
    "traefik": "Traefik",
    "caddy": "Caddy",
    "bascule + 3 plugins": "Bascule with 3 plugins",
    "bascule + 3 of one's own": "Bascule with 3 of one's own",
    "bascule + frames": "Bascule with websocket-limit",
}


def _name(name: str) -> str:
    return NAMES.get(name, name)


def _grid(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(spread: dict[str, float], form: str) -> str:
    return f"{format(spread['median'], form)} ({format(spread['low'], form)}–{format(spread['high'], form)})"


def _fastest_first(peers: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(peers.items(), key=lambda item: -item[1]["requests_per_cpu_s"]["median"])


def table(result: dict[str, Any]) -> str:
    """One scenario's result as a Markdown table; medians, with minimum and maximum in brackets."""
    peers = result.get("peers", {})
    match result["kind"]:
        case "speed":
            rows = [
                [
                    _name(name),
                    _spread(figures["requests_per_cpu_s"], ",.0f"),
                    _spread(figures["ratio"], ".2f"),
                    str(figures["rounds"]),
                ]
                for name, figures in _fastest_first(peers)
            ]
            return _grid(["gateway", "requests per CPU-second", f"ratio to {result['reference']}", "rounds"], rows)
        case "latency":
            rows = [
                [_name(name), _spread(figures["added_p50_us"], ".0f"), _spread(figures["over_nginx_us"], "+.0f")]
                for name, figures in sorted(peers.items(), key=lambda item: item[1]["added_p50_us"]["median"])
            ]
            return _grid(["gateway", "added p50, µs", "over nginx, µs"], rows)
        case "idle":
            rows = [
                [_name(name), f"{figures['rss_bytes'] / 1e6:.1f}", f"{figures['pss_bytes'] / 1e6:.1f}"]
                for name, figures in peers.items()
            ]
            return _grid(["worker of", "resident, MB", "proportional, MB"], rows)
        case "connections":
            rows = [[_name(name), f"{figures['bytes_per_connection']:,.0f}"] for name, figures in peers.items()]
            return _grid(["worker of", "bytes per idle connection"], rows)
        case "certificates":
            rows = [
                ["all taken in by a worker, s", f"{result['load_s']:.2f}"],
                ["one changed, 99th of 100, ms", f"{result['change_ms']:.2f}"],
                ["CPU of a handshake with one certificate, µs", f"{result['one_us']:.0f}"],
                ["with 10,000, µs", f"{result['many_us']:.0f}"],
                ["the first one of each, µs", f"{result['first_us']:.0f}"],
                ["ratio of both, median of the rounds", f"{result['ratio']:.2f}"],
            ]
            return _grid(["", "10,000 certificates"], rows)
        case "tables":
            rows = [
                ["read from JSON, s", f"{result['read_s']:.2f}"],
                ["compiled, s", f"{result['compile_s']:.2f}"],
                ["peak memory of both, MB", f"{result['peak_bytes'] / 1e6:.0f}"],
                ["one route replaced, median, ms", f"{result['replace_median_ms']:.3f}"],
                ["one route replaced, 99th percentile, ms", f"{result['replace_p99_ms']:.3f}"],
            ]
            return _grid(["what", "figure"], rows)
        case "balance":
            rows = [
                [
                    name,
                    f"{chosen['choice_us']:.2f}",
                    f"{chosen['request_us']:.2f}",
                    f"{result['changes'][name]['health_ms']:.2f}",
                    f"{result['changes'][name]['weight_ms']:.2f}",
                ]
                for name, chosen in result["choices"].items()
            ]
            header = ["type", "a choice, µs", "with begin and end", "another health, ms", "another weight, ms"]
            exact = result["exactness"]
            told = (
                f"\n\nShares are off by {exact['share_percent']:.3f}% at most over 100,000 requests; "
                f"{exact['moved_percent']:.2f}% of chash's keys move when one node of 1,000 leaves."
            )
            edits = [
                [name, *(f"{edit[what]:.1f}" for what in ("compile_ms", "plan_ms", "edit_ms", "quickest_ms"))]
                for name, edit in result["edits"].items()
            ]
            header_of_edits = ["an edit of one weight", "compiled, ms", "plan, ms", "in all, ms", "the quickest, ms"]
            return _grid(header, rows) + told + "\n\n" + _grid(header_of_edits, edits)
        case "dead-node":
            rows = [
                [
                    DEAD_NODE[name],
                    f"{seen['cpu_ns'] / 1000:.2f}",
                    _spread(seen["ratio"], ".3f"),
                    "" if seen["calls"] is None else f"{seen['calls']:.3f}",
                ]
                for name, seen in result["upstreams"].items()
            ]
            header = ["nodes", "CPU of a request, µs", "ratio, median (its 95% interval)", "system calls of a request"]
            return _grid(header, rows) + f"\n\nOf {result['rounds']} rounds."
        case "health":
            rows = [
                [name, _spread(seen["died_ms"], ",.0f"), _spread(seen["met_ms"], ",.0f"), f"{seen['failed']}"]
                for name, seen in result["checks"].items()
            ]
            last = "to the last request that met it, ms"
            return _grid(["found by", f"from its death {last}", f"from the first {last}", "failed"], rows)
        case "propagation":
            alone, beside = result["traffic_alone"], result["traffic_beside_writes"]
            rows = [
                ["write served by every worker, median, ms", f"{result['single_p50_ms']:.1f}"],
                ["write served by every worker, 99th percentile, ms", f"{result['single_p99_ms']:.1f}"],
                ["write served by every worker, slowest, ms", f"{result['single_max_ms']:.1f}"],
                ["writes per second, 32 writers", f"{result['concurrent_writes_per_s']:,.0f}"],
                ["writes per second at a steady 1,000", f"{result['paced_writes_per_s']:,.0f}"],
                ["latency of traffic without writes: p50, p99, p99.9, ms", _latencies(alone)],
                ["latency of traffic beside 1,000 writes a second: p50, p99, p99.9, ms", _latencies(beside)],
            ]
            return _grid(["what", "figure"], rows)
    raise ValueError(f"unknown kind {result['kind']!r}")


def _latencies(traffic: dict[str, float]) -> str:
    return ", ".join(f"{traffic[name]:.2f}" for name in ("p50_ms", "p99_ms", "p999_ms"))


def picture(scenarios: dict[str, Any]) -> str:
    """A bar for each gateway: requests per CPU-second of the plain proxy, and Bascule's with three plugins."""
    bars = [
        (_name(name), figures["requests_per_cpu_s"]["median"]) for name, figures in scenarios["plain"]["peers"].items()
    ]
    if "plugins" in scenarios:
        # nginx's figure of this picture times the ratio of their own pairs: absolute figures of other minutes differ.
        ratio = scenarios["plugins"]["peers"]["bascule + 3 plugins"]["ratio"]["median"]
        bars.append(
            ("Bascule with 3 plugins", ratio * scenarios["plain"]["peers"]["nginx"]["requests_per_cpu_s"]["median"])
        )
    bars.sort(key=lambda bar: -bar[1])
    left, width, step, top = 190, 420, 34, 44
    height = top + step * len(bars) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}"'
        f' width="{left + width + 90}" height="{height}" font-family="system-ui, sans-serif" font-size="14">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="16" y="26" font-weight="600" fill="#1f2328">'
        "Requests per CPU-second of the gateway, keep-alive HTTP/1.1 proxy</text>",
    ]
    for number, (name, value) in enumerate(bars):
        y = top + number * step
        colour = "#0a7d5a" if name.startswith("Bascule") else "#9aa4b2"
        length = max(1, round(width * value / bars[0][1]))
        parts += [
            f'<text x="{left - 10}" y="{y + 16}" text-anchor="end" fill="#1f2328">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{length}" height="22" rx="3" fill="{colour}"/>',
            f'<text x="{left + length + 8}" y="{y + 16}" fill="#1f2328">{value / 1000:.1f}k</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def between(text: str, marker: str, content: str) -> str:
    """`text` with what stands between `<!-- marker -->` and `<!-- /marker -->` replaced."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no place for {marker}")
    return pattern.sub(lambda found: found[1] + content + "\n" + found[2], text)


def write(results: dict[str, Any]) -> None:
    """Writes what was measured into the documents."""
    scenarios, machine = results["scenarios"], results["machine"]
    parts = [f"{machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, Python {machine['python']}."]
    for name, title in TITLES.items():
        if name in scenarios:
            parts += ["", f"### {title}", "", table(scenarios[name]), "", f"Measured {scenarios[name]['at']}."]
    page = ROOT / "docs" / "performance.md"
    page.write_text(between(page.read_text(), "figures", "\n".join(parts)))
    if "plain" in scenarios:
        (ROOT / "docs" / "performance.svg").write_text(picture(scenarios))
        readme = ROOT / "README.md"
        readme.write_text(between(readme.read_text(), "figures", readme_table(scenarios)))


def readme_table(scenarios: dict[str, Any]) -> str:
    """The plain proxy's figures, with the criteria that Bascule set itself and what came out."""
    rows = [
        [_name(name), f"{figures['requests_per_cpu_s']['median'] / 1000:.1f}k", f"{figures['ratio']['median']:.2f}"]
        for name, figures in _fastest_first(scenarios["plain"]["peers"])
    ]
    if "plugins" in scenarios:
        ratio = scenarios["plugins"]["peers"]["bascule + 3 plugins"]["ratio"]
        rows.append(
            ["Bascule with key-auth, limit-count, response-rewrite (nginx plain)", "", f"{ratio['median']:.2f}"]
        )
    return _grid(["gateway", "requests per CPU-second", "ratio to nginx"], rows)
