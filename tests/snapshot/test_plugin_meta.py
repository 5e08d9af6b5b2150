import pytest
from pydantic import ValidationError

from bascule.errors.sentences import sentences
from bascule.snapshot.plugin_meta import PluginMeta


def test_accepted():
    meta = PluginMeta.model_validate(
        {"disable": True, "priority": -5, "filter": [["arg_a", "==", "1"]], "error_response": {"message": "no"}}
    )
    assert (meta.disable, meta.priority, meta.error_response) == (True, -5, {"message": "no"})
    assert PluginMeta.model_validate({"error_response": "no"}).error_response == "no"


def test_refused():
    value = {"disable": 1, "priority": "x", "error_response": 1, "pre_function": "return", "filtr": []}
    with pytest.raises(ValidationError) as caught:
        PluginMeta.model_validate(value)
    assert [f"{path}: {sentence}" for path, sentence in sentences(caught.value, value, PluginMeta)] == [
        "$.disable: must be true or false",
        "$.priority: must be an integer",
        "$.error_response: must be a string or an object",
        "$.pre_function: pre_function is Lua source, which Bascule doesn't run; write it as a Python plugin",
        '$.filtr: unknown attribute "filtr"; did you mean "filter"?',
    ]
