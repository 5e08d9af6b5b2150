from bascule.model.secret import AwsSecret, GcpSecret, VaultSecret


def test_vault(told):
    assert told(VaultSecret, {"uri": "http://127.0.0.1:8200", "prefix": "kv/a", "token": "t"}) == []
    assert told(VaultSecret, {"uri": "http://h"}) == ["$.prefix: is required", "$.token: is required"]
    assert told(VaultSecret, {"uri": "h", "prefix": "", "token": ""})[0].startswith("$.uri: must match the pattern")


def test_aws(told):
    assert told(AwsSecret, {"access_key_id": "a", "secret_access_key": "b"}) == []
    assert told(AwsSecret, {"access_key_id": ""}) == [
        "$.access_key_id: must have at least 1 character",
        "$.secret_access_key: is required",
    ]


def test_gcp(told):
    assert told(GcpSecret, {"auth_file": "/a.json"}) == []
    assert told(GcpSecret, {"auth_config": {"client_email": "a", "private_key": "b", "project_id": "c"}}) == []
    assert told(GcpSecret, {}) == ['$: needs exactly one of "auth_config" and "auth_file"']
