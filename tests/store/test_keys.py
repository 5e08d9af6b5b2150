import pytest

from bascule.store.keys import key_of, kind_and_id


@pytest.mark.parametrize(
    ("kind", "id", "key"),
    [
        ("routes", "1", "routes/1"),
        ("consumers", "jack", "consumers/jack"),
        ("credentials", "jack/credentials/c1", "consumers/jack/credentials/c1"),
        ("graphql_cost_decorations", "1/graphql_cost_decorations/2", "services/1/graphql_cost_decorations/2"),
        ("secrets", "vault/1", "secrets/vault/1"),
    ],
)
def test_a_key_and_back(kind: str, id: str, key: str) -> None:
    assert key_of(kind, id) == key
    assert kind_and_id(key) == (kind, id)


@pytest.mark.parametrize(
    "key", ["", "routes", "routes/", "gen_id", "plugins", "data_plane/server_info/x", "routes/1/2", "secrets/vault"]
)
def test_keys_that_hold_no_resource(key: str) -> None:
    assert kind_and_id(key) is None
