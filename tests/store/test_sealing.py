from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.store.sealing import PUBLISHED, Sealer

OURS = "0123456789abcdefghijklmnopqrstuv"
OLDER = "an-older-entry-a"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
FIELDS = {
    "key-auth": ("key",),
    "basic-auth": ("password",),
    "ai-proxy": ("auth.header", "auth.gcp.service_account_json"),
    "ai-proxy-multi": ("instances.auth.header",),
    "saml-auth": ("secret_fallbacks", "sp_private_key"),
    "error-log-logger": ("clickhouse.password", "kafka.brokers.sasl_config.password"),
    "traffic-split": (),
}


def fields_of(name: str) -> tuple[str, ...]:
    return FIELDS.get(name, ())


def sealer(*keyring: str, enabled: bool = True) -> Sealer:
    return Sealer(keyring or (OURS,), fields_of, enabled)


def plugins(**confs: Any) -> dict[str, Any]:
    return {"plugins": {name.replace("_", "-"): conf for name, conf in confs.items()}}


def key_of(sealed: Mapping[str, Any]) -> Any:
    return sealed["plugins"]["key-auth"]["key"]


# ---- how it is sealed; the sealed texts were made by `openssl enc -aes-…-cbc -K … -iv … -base64`


def test_a_key_of_32_bytes() -> None:
    plain = plugins(key_auth={"key": "a secret of more than one block, ключ"})
    sealed = sealer().seal("consumers", plain)
    assert key_of(sealed) == "764eELUNV3mfmuzqZ4DcmrM4npqRG7wQ8wM2ez0xudcxFB9fwbcHvRiiG16EqHIu"
    assert sealer().unseal("consumers", sealed) == plain


@pytest.mark.parametrize("text", ["97o5qGKxzAhVNXUaY4hLuw==", "l+UbgczS6xitt73RjtUXKw=="])
def test_what_was_sealed_with_a_published_key_is_read(text: str) -> None:
    sealed = plugins(key_auth={"key": text})
    assert key_of(sealer().unseal("consumers", sealed)) == "a secret"
    assert key_of(Sealer((), fields_of, True).unseal("consumers", sealed)) == "a secret"


def test_a_published_key_seals_only_when_it_is_asked_for() -> None:
    plain = plugins(key_auth={"key": "a secret"})
    assert key_of(sealer(PUBLISHED[0]).seal("consumers", plain)) == "97o5qGKxzAhVNXUaY4hLuw=="
    assert key_of(sealer().seal("consumers", plain)) not in ("97o5qGKxzAhVNXUaY4hLuw==", "l+UbgczS6xitt73RjtUXKw==")
    assert Sealer((), fields_of, True).seal("consumers", plain) == plain


def test_the_first_key_seals_and_every_key_opens() -> None:
    plain = plugins(key_auth={"key": "a secret"})
    before = sealer(OLDER).seal("consumers", plain)
    turned = sealer(OURS, OLDER)
    assert turned.unseal("consumers", before) == plain
    assert turned.seal("consumers", plain) == sealer(OURS).seal("consumers", plain) != before
    assert sealer(OURS).unseal("consumers", before) == before  # its key is gone: stays as it is


@pytest.mark.parametrize("entry", ["", "short", "x" * 24, "ключ" * 3])
def test_an_entry_of_another_length_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="must be 16 or 32 bytes long, not"):
        sealer(entry)


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    plain = plugins(key_auth={"key": text})
    sealed = sealer().seal("consumers", plain)
    assert key_of(sealed) != text
    assert sealer().unseal("consumers", sealed) == plain
    assert sealer(OLDER).unseal("consumers", sealed) == sealed


@given(st.text())
def test_a_text_that_was_never_sealed_stays(text: str) -> None:
    plain = plugins(key_auth={"key": text})
    assert sealer().unseal("consumers", plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "MDEyMzQ1Njc4OWFiY2RlZg==",  # base64 of one block
        "MDEyMzQ1Njc4OWFiY2RlZg==\n",
        "MDEyMzQ1Njc4OWFiY2RlZ===",
        "MDEyMzQ1Njc4OWFiY2Rl",
        "0123456789abcdef01234567",
        "ключключключключключключ",
        PEM,
    ],
)
def test_what_looks_a_little_like_a_sealed_text_stays(text: str) -> None:
    plain = plugins(key_auth={"key": text})
    assert sealer().unseal("consumers", plain) == plain


@pytest.mark.parametrize("reference", ["$secret://vault/1/jack/key", "$env://KEY", "$ENV://KEY/field"])
def test_a_reference_to_a_secret_stays(reference: str) -> None:
    plain = {**plugins(key_auth={"key": reference}), "upstream": {"tls": {"client_key": reference}}}
    assert sealer().seal("routes", plain) == plain
    assert sealer().seal("ssls", {"key": reference, "keys": [reference]}) == {"key": reference, "keys": [reference]}


# ---- where


NESTED = plugins(
    ai_proxy={"auth": {"header": {"A": "a", "B": "b"}, "gcp": {"service_account_json": "c", "other": "-"}}},
    ai_proxy_multi={"instances": [{"auth": {"header": {"A": "d"}}, "name": "-"}, {"name": "-"}, "-"]},
    saml_auth={"secret_fallbacks": ["e", "f"], "idp": "-"},
    key_auth={"key": "g", "header": "-"},
    traffic_split={"rules": [{"plugins": {"key-auth": {"key": "-"}}, "upstream": {"tls": {"client_key": "-"}}}]},
    unknown={"key": "-", "password": "-"},
)


@pytest.mark.parametrize("kind", ["routes", "consumers", "credentials", "global_rules", "plugin_configs"])
def test_fields_of_plugins_are_sealed_wherever_they_lie(kind: str) -> None:
    before = copy.deepcopy(NESTED)
    sealed = sealer().seal(kind, NESTED)
    assert before == NESTED
    assert leaves(sealed).count("-") == leaves(NESTED).count("-")
    assert {leaf for leaf in leaves(sealed) if len(leaf) == 1} == {"-"}
    again = copy.deepcopy(sealed)
    assert sealer().unseal(kind, sealed) == NESTED
    assert sealed == again


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def test_metadata_of_a_plugin() -> None:
    plain = {
        "id": "error-log-logger",
        "clickhouse": {"password": "a", "user": "-"},
        "kafka": {"brokers": [{"sasl_config": {"password": "b"}}, {"sasl_config": {"user": "-"}}]},
    }
    sealed = sealer().seal("plugin_metadata", plain)
    assert len(sealed["clickhouse"]["password"]) == len(sealed["kafka"]["brokers"][0]["sasl_config"]["password"]) == 24
    assert sealed["kafka"]["brokers"][1] == {"sasl_config": {"user": "-"}}
    assert sealer().unseal("plugin_metadata", sealed) == plain
    assert sealer().seal("plugin_metadata", {"key": "a"}) == {"key": "a"}


PRIVATE = [
    ("ssls", {"key": PEM, "keys": [PEM, PEM], "cert": "-"}),
    ("upstreams", {"tls": {"client_key": PEM, "client_cert": "-"}}),
    ("routes", {"upstream": {"tls": {"client_key": PEM, "client_cert": "-"}}}),
    ("services", {"upstream": {"tls": {"client_key": PEM, "client_cert": "-"}}}),
    ("stream_routes", {"upstream": {"tls": {"client_key": PEM, "client_cert": "-"}}}),
]


@pytest.mark.parametrize(("kind", "plain"), PRIVATE)
@pytest.mark.parametrize("enabled", [True, False])
def test_private_keys_are_always_sealed(kind: str, plain: dict[str, Any], enabled: bool) -> None:
    before = copy.deepcopy(plain)
    sealed = sealer(enabled=enabled).seal(kind, plain)
    assert plain == before
    assert PEM not in leaves(sealed)
    assert leaves(sealed).count("-") == 1
    assert sealer(enabled=enabled).unseal(kind, sealed) == plain


@pytest.mark.parametrize(("kind", "plain"), PRIVATE)
def test_a_private_key_that_is_sealed_already_is_not_sealed_twice(kind: str, plain: dict[str, Any]) -> None:
    theirs = sealer(PUBLISHED[1]).seal(kind, plain)
    assert sealer().seal(kind, theirs) == sealer().seal(kind, plain) != theirs


def test_fields_of_plugins_may_be_left_plain_and_are_read_all_the_same() -> None:
    plain = plugins(key_auth={"key": "a secret"})
    assert sealer(enabled=False).seal("consumers", plain) == plain
    assert sealer(enabled=False).unseal("consumers", sealer().seal("consumers", plain)) == plain


@pytest.mark.parametrize(
    "odd",
    [
        {"plugins": None},
        {"plugins": ["key-auth"]},
        {"plugins": {"key-auth": None}},
        {"plugins": {"key-auth": {"key": 5}}},
        {"plugins": {"key-auth": {"key": [1, None, ["a"], {"a": ["b"]}]}}},
        {"plugins": {"ai-proxy": {"auth": "text"}}},
        {"plugins": {"ai-proxy": [[["deep"]]]}},
        {"upstream": "text"},
        {"upstream": {"tls": ["text"]}},
        {"key": None, "keys": "text", "tls": 1},
    ],
)
@pytest.mark.parametrize("kind", ["routes", "upstreams", "plugin_metadata"])
def test_what_has_another_shape_stays_for_the_checks_to_refuse(kind: str, odd: dict[str, Any]) -> None:
    assert sealer().seal(kind, odd) == odd
    assert sealer().unseal(kind, odd) == odd


def test_what_holds_no_secret_is_shared_with_the_copy() -> None:
    route = {"uri": "/", **plugins(ip_restriction={"whitelist": ["10.0.0.0/8"]}), "upstream": {"nodes": {"a:1": 1}}}
    plain = sealer().unseal("routes", route)
    assert plain == route
    assert plain is not route
    assert all(plain[name] is route[name] for name in route)


def test_hidden_whether_sealed_or_not() -> None:
    value = {**plugins(key_auth={"key": "k", "header": "h"}), "upstream": {"tls": {"client_key": PEM}}}
    for enabled in (True, False):
        hidden = sealer(enabled=enabled).hide("routes", value, "*")
        assert hidden == {**plugins(key_auth={"key": "*", "header": "h"}), "upstream": {"tls": {"client_key": "*"}}}
    assert key_of(value) == "k"
