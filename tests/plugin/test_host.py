from bascule.plugin.host import HttpAnswer


def test_headers_of_an_answer_are_found_in_any_case():
    answer = HttpAnswer(200, [("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("set-cookie", "b")], b"")
    assert answer.header("content-type") == "text/plain"
    assert answer.header("SET-COOKIE") == "a"
    assert answer.header("absent") is None
