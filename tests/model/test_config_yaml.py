import pytest

from bascule.errors.config_error import ConfigRefused
from bascule.model.config_yaml import parse_settings


def refusals(text: bytes, **environ: str) -> list[str]:
    with pytest.raises(ConfigRefused) as caught:
        parse_settings(text, "config.yaml", environ)
    return [str(error) for error in caught.value.errors]


def test_all_errors_at_once_with_line_and_path() -> None:
    text = b"""\
apisix:
  node_listen:
    - ip: 1.2.3
      port: 99999
    - unix:relative
  nodelisten: 1
foo: 1
nginx_config:
  http:
    send_timeout: 5x
"""
    assert refusals(text) == [
        "config.yaml:3: $.apisix.node_listen[0].ip: '1.2.3' is not an IP address",
        "config.yaml:4: $.apisix.node_listen[0].port: must be at most 65535",
        "config.yaml:5: $.apisix.node_listen[1]: a Unix socket needs an absolute path of at most 107 bytes after unix:",
        'config.yaml:6: $.apisix.nodelisten: unknown attribute "nodelisten"; did you mean "node_listen"?',
        'config.yaml:7: $.foo: unknown attribute "foo"',
        "config.yaml:10: $.nginx_config.http.send_timeout: must be a duration: seconds, or text such as "
        '"60s", "500ms", "1h30m"',
    ]


def test_a_file_that_is_no_yaml() -> None:
    assert refusals(b"apisix: [")[0].startswith("config.yaml:2: is not valid YAML")
    assert refusals(b"- 1") == ["config.yaml:1: $: must be a mapping of sections"]


def test_a_store_that_is_not_here_is_said_so() -> None:
    text = b"deployment: {role: data_plane, role_data_plane: {config_provider: xds}}"
    assert '"xds" isn\'t served' in refusals(text)[0]


def test_etcd_s_hosts_from_the_environment() -> None:
    settings = parse_settings(b"", None, {"APISIX_DEPLOYMENT_ETCD_HOST": '["http://a:1", "http://b:2"]'})
    assert settings.etcd.host == ("http://a:1", "http://b:2")
    assert settings.provider == "etcd"
    with pytest.raises(ConfigRefused, match="JSON list"):
        parse_settings(b"", None, {"APISIX_DEPLOYMENT_ETCD_HOST": "http://a:1"})


def test_stream_proxying_is_read_and_named() -> None:
    settings = parse_settings(b"apisix: {ssl: {enable: false}, proxy_mode: 'http&stream'}", None, {})
    assert "only http is served" in str(settings.ignored[0])


def test_no_key_at_all_means_a_generated_one() -> None:
    for text in (b"deployment: {admin: {admin_key: }}", b"deployment: {admin: {admin_key: []}}", b""):
        assert [key.key for key in parse_settings(text, None, {}).deployment.admin.admin_key] == [""]


def test_a_section_with_nothing_in_it_is_as_good_as_absent() -> None:
    assert parse_settings(b"apisix:\nnginx_config:\n  http:\nplugins:\n", None, {}) == parse_settings(b"", None, {})


def test_variables() -> None:
    settings = parse_settings(
        b"apisix: {node_listen: ['${{PORT}}'], ssl: {enable: '${{SSL:=false}}'}}", None, {"PORT": "81"}
    )
    assert settings.apisix.node_listen[0].port == 81
    assert not settings.apisix.ssl.enable
