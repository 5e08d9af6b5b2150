from bascule.model.kinds import KINDS, model_of
from bascule.model.route import Route
from bascule.model.secret import VaultSecret


def test_model_of():
    assert model_of("routes", "1") is Route
    assert model_of("secrets", "vault/1") is VaultSecret
    assert model_of("secrets", "keepass/1") is None
    assert model_of("rotues", "1") is None


def test_every_kind_has_a_frozen_model_that_makes_a_schema():
    for model in KINDS.values():
        assert model.model_config["frozen"]
        model.model_json_schema()
