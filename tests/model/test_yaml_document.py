import pytest

from bascule.model.yaml_document import YamlDocument, YamlRefused


def refusal(data: bytes, **environ: str) -> tuple[int | None, str]:
    with pytest.raises(YamlRefused) as caught:
        YamlDocument(data, environ)
    return caught.value.faults[0][0], caught.value.faults[0][2]


def test_values_are_plain_and_keys_are_strings_as_written() -> None:
    value = YamlDocument(b"80: x\non: [1, 2.5, true]\nday: 2020-01-01\nempty:\n", {}).value
    assert value == {"80": "x", "on": [1, 2.5, True], "day": "2020-01-01", "empty": None}


def test_marks_of_yaml_1_1_that_stand_for_themselves() -> None:
    text = b'op: =\nlist: [arg_x, =, "=", <<]\n=: 1\nb: ${{P}}\n'
    value = {"op": "=", "list": ["arg_x", "=", "=", "<<"], "=": 1, "b": "="}
    assert YamlDocument(text, {"P": "="}).value == value


def test_an_empty_text_is_none() -> None:
    assert YamlDocument(b"# nothing\n", {}).value is None


def test_references_stay_when_there_is_no_environment() -> None:
    assert YamlDocument(b"a: ${{X:=1}}\n", None).value == {"a": "${{X:=1}}"}


def test_lines_of_places() -> None:
    document = YamlDocument(b"routes:\n  - id: 1\n    plugins:\n      cors:\n        max_age: x\n  - id: 2\n", {})
    assert document.line(["routes", 0, "plugins", "cors", "max_age"]) == 5
    assert document.line(["routes", 0, "plugins", "cors", "absent"]) == 4
    assert document.line(["routes", 1]) == 6
    assert document.item_lines("routes") == [2, 6]
    assert document.item_lines("services") == []


def test_merge_keys() -> None:
    assert YamlDocument(b"a: &x {q: 1}\nb:\n  <<: *x\n  z: 2", {}).value["b"] == {"q": 1, "z": 2}


def test_variables_are_typed_by_how_they_are_written() -> None:
    text = b'a: ${{P}}\nb: "${{P}}"\nc: [${{P}}, ${{Q:=x}}]\n# ${{NOPE}}\nd: |\n  ${{PEM}}\n'
    value = YamlDocument(text, {"P": "8080", "PEM": "a\nb: c"}).value
    assert value == {"a": 8080, "b": "8080", "c": [8080, "x"], "d": "a\nb: c\n"}


def test_a_missing_variable() -> None:
    assert refusal(b"a: 1\nb: ${{NO}}") == (2, "environment variable NO is not set, and ${{NO}} gives no default")


def test_every_key_given_twice_is_told() -> None:
    with pytest.raises(YamlRefused) as caught:
        YamlDocument(b"a: 1\na: 2\nb: {c: 1, c: 2}", {})
    assert [fault[0] for fault in caught.value.faults] == [2, 3]


def test_bytes_that_are_no_text() -> None:
    assert refusal(b"a: 1\nb: \xff") == (2, "is not UTF-8 text: byte 0xff")
    assert refusal(b"a: 1\nb: \0") == (2, "holds a NUL character")


@pytest.mark.parametrize(
    "text", [b"a: [1\nb: 2", b"\ta: 1", b"a: 1\n---\nb: 2", b"? [a]\n: 1", b"a: !!python/name:os.system x"]
)
def test_broken_yaml_is_one_sentence(text: bytes) -> None:
    line, sentence = refusal(text)
    assert line is not None
    assert sentence.startswith("is not valid YAML: ")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"[" * 5000 + b"]" * 5000, b"\n".join(b" " * n + b"a:" for n in range(3000))]
)
def test_depth_is_bounded(text: bytes) -> None:
    assert "nested" in refusal(text)[1]


def test_aliases_can_not_blow_a_file_up() -> None:
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [b"%c: &%c [%s]" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 10)) for i in range(9)]
    assert "aliases expand" in refusal(b"\n".join(lines))[1]
    assert "refers to itself" in refusal(b"a: &a [*a]")[1]
