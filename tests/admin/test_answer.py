from bascule.admin.answer import refuse, refuse_faults
from bascule.errors.fault import Fault


def test_one_fault_is_told_as_apisix_does_and_more_of_them_all() -> None:
    one = Fault("$.uri", "is required", 'property "uri" is required')
    two = Fault("$.a", "unknown", "additional properties forbidden, found a")
    assert refuse_faults([one]).answer.body == {"error_msg": 'invalid configuration: property "uri" is required'}
    assert refuse_faults([one, two]).answer.body == {
        "error_msg": 'invalid configuration: property "uri" is required',
        "errors": [{"path": "$.uri", "message": "is required"}, {"path": "$.a", "message": "unknown"}],
    }


def test_a_plain_refusal() -> None:
    answer = refuse(405, "no").answer
    assert (answer.status, answer.body) == (405, {"error_msg": "no"})
