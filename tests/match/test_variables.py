from bascule.match.variables import FixedVariables


def test_present_and_missing() -> None:
    variables = FixedVariables({"arg_x": "1"})
    assert (variables.var("arg_x"), variables.var("arg_y")) == ("1", None)
    assert repr(variables) == "FixedVariables({'arg_x': '1'})"
    assert FixedVariables().var("x") is None
