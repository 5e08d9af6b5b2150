from bascule.errors.fault import Fault


def test_the_message_of_an_answer():
    assert Fault("$.uri", "is required", 'property "uri" is required').error_msg == (
        'invalid configuration: property "uri" is required'
    )
    assert Fault("$.plugins.x", 'unknown plugin "x"', "unknown plugin [x]", prefix="").error_msg == "unknown plugin [x]"
