import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from bascule.model.config_yaml import parse_settings
from bascule.model.engine_settings import EngineSettings
from bascule.model.ignored_settings import IGNORED
from bascule.model.settings import Settings


def test_the_defaults_are_the_engine_settings_own() -> None:
    assert Settings().engine("") == EngineSettings()


def test_engine_settings_can_be_sent_to_a_worker() -> None:
    engine = parse_settings(b"nginx_config: {http: {send_timeout: 3s, keepalive_requests: '7'}}", None, {}).engine(
        "0.1"
    )
    assert (engine.send_timeout_s, engine.keepalive_requests, engine.version) == (3, 7, "0.1")
    assert pickle.loads(pickle.dumps(engine)) == engine


def test_every_form_of_node_listen() -> None:
    entries = b"[9080, '9081', {ip: '::1', port: 90}, 'unix:/tmp/x']"
    text = b"apisix: {node_listen: %b, enable_ipv6: false, ssl: {enable: false}}" % entries
    assert [str(a) for a in parse_settings(text, None, {}).addresses] == [
        "http://0.0.0.0:9080",
        "http://0.0.0.0:9081",
        "http://[::1]:90",
        "unix:/tmp/x",
    ]


@pytest.mark.parametrize(
    ("deployment", "provider"),
    [
        ("", "sqlite"),
        ("etcd: {host: ['http://x:1']}", "etcd"),
        ("role: data_plane", "etcd"),
        ("role: control_plane", "etcd"),
        ("role: traditional, role_traditional: {config_provider: yaml}, etcd: {host: ['http://x:1']}", "yaml"),
    ],
)
def test_the_provider_without_a_word_and_with(deployment: str, provider: str) -> None:
    assert parse_settings(f"deployment: {{{deployment}}}".encode(), None, {}).provider == provider


def test_the_provider_is_the_role_s() -> None:
    assert (
        parse_settings(b"deployment: {role: data_plane, role_data_plane: {config_provider: json}}", None, {}).provider
        == "json"
    )


def test_plugin_attr_is_kept_as_it_was_given() -> None:
    settings = parse_settings(
        b"plugin_attr: {prometheus: {export_addr: {port: 1}, metric_prefix: x}, y: {z: 1}}", None, {}
    )
    assert settings.plugin_attr.prometheus.export_addr.port == 1
    assert settings.plugin_attr.prometheus.export_addr.ip == "127.0.0.1"
    assert settings.attr == {"prometheus": {"export_addr": {"port": 1}, "metric_prefix": "x"}, "y": {"z": 1}}


DOCS = (Path(__file__).parents[2] / "docs/configuration.md").read_text()


def leaves(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner)
        else:
            yield name


def test_every_key_is_documented() -> None:
    assert [name for name in leaves(Settings) if name not in DOCS] == []


def test_every_ignored_key_is_documented_with_its_reason() -> None:
    assert [key for key, why in IGNORED if f"| `{key}` | {why} |" not in DOCS] == []
