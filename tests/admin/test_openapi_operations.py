from bascule.admin.openapi_operations import OPERATIONS


def test_no_operation_stands_here_twice() -> None:
    assert len({(operation.path, operation.method) for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_answer_is_one_of_success_or_said_why() -> None:
    for operation in OPERATIONS:
        assert any(status < 300 for status in operation.answers)
        assert set(operation.answers) <= {200, 202, 204, 409}
