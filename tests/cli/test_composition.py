"""The parts of a gateway, as the settings say."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bascule.cli.composition import debug_key, make_parts
from bascule.cli.settings_file import Configured, read_settings
from bascule.control.file_source import FileSource
from bascule.store.etcd import EtcdStore
from bascule.store.sqlite import SqliteStore
from tests.cli.workplace import settings
from tests.servers.gateway import merged


def configured(folder: Path, provider: str, **over: Any) -> Configured:
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(merged(settings(9180, provider), over)))
    return read_settings(path, {})


def test_a_standalone_file_has_no_store(tmp_path: Path) -> None:
    parts = make_parts(configured(tmp_path, "yaml", discovery={"dns": {"servers": ["127.0.0.1:53"]}}))
    assert isinstance(parts.source, FileSource)
    assert [parts.store, parts.sealer, parts.administration] == [None, None, None]
    assert parts.discovery == {"dns"}
    assert not (tmp_path / "data").exists()


def test_a_store_of_each_kind(tmp_path: Path) -> None:
    for provider, kind in (("sqlite", SqliteStore), ("etcd", EtcdStore)):
        parts = make_parts(configured(tmp_path / provider, provider))
        assert isinstance(parts.store, kind)
        assert parts.administration is not None
        assert (tmp_path / provider / "data" / "keyring").exists()


def test_gateways_of_one_keyring_take_each_others_debug_tokens(tmp_path: Path) -> None:
    ring = {"apisix": {"data_encryption": {"keyring": ["0123456789abcdef"]}}}
    shared = [debug_key(configured(tmp_path / name, "sqlite", **ring)) for name in ("a", "b")]
    own = [debug_key(configured(tmp_path / name, "sqlite")) for name in ("c", "d", "d")]
    assert shared[0] == shared[1]
    assert own[0] != own[1] == own[2] != shared[0]
    # A standalone file has no keyring beside it: the key is this process's.
    assert debug_key(configured(tmp_path / "e", "yaml")) == debug_key(configured(tmp_path / "f", "json"))


def test_what_a_command_doesnt_need_is_not_imported() -> None:
    """Commands that work on a store start without the HTTP library, and workers without cryptography, too."""
    for module, absent in (
        ("bascule.cli.offline_gateway", {"aiohttp"}),
        ("bascule.cli.services", {"aiohttp", "cryptography.x509"}),
        ("bascule.control.worker", {"aiohttp", "cryptography", "yaml"}),
    ):
        code = f"import sys, {module}; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert not absent & set(run.stdout.split()), module
