"""Bodies of the gateway's own errors."""

from bascule.engine.pages import page, reason_of


def test_known_and_unknown_statuses_have_a_page() -> None:
    assert reason_of(502) == "Bad Gateway"
    assert reason_of(499) == "Client Closed Request"
    assert reason_of(504) == "Gateway Time-out"
    assert reason_of(599) == ""
    assert b"<title>502 Bad Gateway</title>" in page(502)
    assert b"<title>599</title>" in page(599)
    assert page(502) is page(502)
