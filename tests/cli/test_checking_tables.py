from bascule.cli.checking_tables import checking_tables
from bascule.model.change import Change
from bascule.model.settings import Settings
from bascule.plugin.registry import Registry


def test_everything_is_compiled_and_secrets_are_not_asked_for() -> None:
    tables = checking_tables(Settings(), Registry())
    plugins = {"key-auth": {"key": "$secret://vault/1/jack/key"}}
    changes = [
        Change("routes", "1", {"uri": "/", "plugins": {"cors": {}}}),
        Change("routes", "2", {"uri": "/", "plugins": {"nonsense": {}}}),
        Change("consumers", "jack", {"username": "jack", "plugins": plugins}),
    ]
    assert [(error.kind, error.id) for error in tables.apply(changes).errors] == [("routes", "2")]
    assert tables.router.explain("GET", "h", "/")
