"""tests/ mirrors src/bascule/: a file with behaviour has its tests at tests/<room>/test_<file>.py."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "bascule"

# Files without behaviour of their own: frozen data and protocols. Everything else has tests.
PURE_DATA: set[str] = {
    "control/boot.py",
    "control/health/states.py",
    "control/source.py",
    "engine/parties.py",
    "match/route_match.py",
    "model/admin_settings.py",
    "model/change.py",
    "model/engine_settings.py",
    "snapshot/applied.py",
    "snapshot/chain.py",
    "snapshot/compiled_route.py",
    "snapshot/compiled_ssl.py",
    "snapshot/compiled_upstream.py",
    "snapshot/consumer_binding.py",
    "snapshot/records.py",
    "snapshot/timeout.py",
    "store/entry.py",
}
# Tests of a whole room rather than of one of its files.
WHOLE_ROOM = {
    "admin/test_races.py",
    "control/test_chaos.py",
    "cli/test_stores.py",
    "control/test_soak.py",
    "control/discovery/test_hostile_registries.py",
    "control/health/test_health_checks.py",
    "engine/test_bad_upstreams.py",
    "engine/test_grpc.py",
    "engine/test_p2c_over_workers.py",
    "engine/test_proxy_protocol.py",
    "engine/test_proxy_to_upstreams.py",
    "engine/test_http2_attacks.py",
    "engine/test_live_fuzz.py",
    "engine/test_slow_clients.py",
    "engine/test_smuggling.py",
    "engine/test_websocket_frames.py",
    "net/test_tls_attacks.py",
    "net/test_tls_files.py",
    "net/test_tls_life.py",
    "net/test_tls_scan.py",
    "net/test_tls_stapling.py",
    "plugins/test_documented.py",
    "plugins/test_grpc_plugins.py",
    "plugins/test_releases.py",
    "snapshot/test_golden.py",
    "snapshot/test_incremental.py",
    "snapshot/test_totality.py",
    "wire/test_fuzz.py",
}


def expected_test(source: str) -> str:
    """engine/server.py -> engine/test_server.py"""
    path = Path(source)
    return str(path.with_name(f"test_{path.name}"))


def sources() -> set[str]:
    found = {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py")}
    return {source for source in found if not source.endswith(("__init__.py", "__main__.py"))}


def present_tests() -> set[str]:
    found = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    return {str(path) for path in found if len(path.parts) > 1 and path.parts[0] != "servers"}


def test_every_source_file_has_its_tests() -> None:
    missing = {source for source in sources() - PURE_DATA if expected_test(source) not in present_tests()}
    assert not missing, f"no tests for {sorted(missing)}"


def test_no_test_file_is_an_orphan() -> None:
    orphans = present_tests() - {expected_test(source) for source in sources()} - WHOLE_ROOM
    assert not orphans, f"nothing in src/bascule matches {sorted(orphans)}"


def test_exemptions_are_real() -> None:
    assert sources() >= PURE_DATA
    assert present_tests() >= WHOLE_ROOM
    both = {source for source in PURE_DATA if expected_test(source) in present_tests()}
    assert not both, f"exempt, yet tested: {sorted(both)}"
