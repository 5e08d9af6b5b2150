from bascule.snapshot.refusing_hook import refusing_hook


def test_answers_503():
    response = refusing_hook('consumer group "g" can\'t be used').call(None)
    assert response.status == 503
    assert b"can't be used" in response.body
