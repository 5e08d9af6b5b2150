import pytest

from bascule.plugin.posted import parse_posted

MULTIPART = (
    b'preamble\r\n--B\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\ntwo\r\n'
    b"--B\r\ncontent-disposition: form-data; name=f; filename=x\r\nContent-Type: text/plain\r\n\r\n\xff\r\n"
    b"--B\r\nContent-Type: text/plain\r\n\r\nnameless\r\n"
    b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nthree\r\n--B--\r\nepilogue'
)


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"a": [1]}', {"a": [1]}),
        ("application/problem+json; charset=utf-8", b"1", 1),
        ("application/json", b"{", None),
        ("application/x-www-form-urlencoded", b"a=1&b=%20&a=2&a=3", {"a": ["1", "2", "3"], "b": " "}),
        ("", b"a=1", {"a": "1"}),
        ('multipart/form-data; boundary="B"', MULTIPART, {"a": ["one\r\ntwo", "three"], "f": "ÿ"}),
        ("multipart/form-data", MULTIPART, {}),
        ("multipart/form-data; boundary=C", MULTIPART, {}),
        ("text/plain", b"a=1", None),
    ],
)
def test_bodies(content_type, body, data):
    assert parse_posted(content_type, body) == data


def test_a_part_without_a_blank_line_is_left_out():
    a, b = (f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode() for name in "ab")
    body = a + b + b"\r\n1\r\n--B--"
    assert parse_posted("multipart/form-data; boundary=B", body) == {"b": "1"}


def test_json_that_is_too_deep_is_none():
    assert parse_posted("application/json", b"[" * 100_000) is None
