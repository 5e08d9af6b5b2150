import pytest

from bascule.plugin import DROP, Close, Frame


def test_frames() -> None:
    text = Frame(1, "\u20ac".encode(), fin=False)
    assert (text.text, text.size, text.fin, text.is_control, text.from_client) == ("\u20ac", 3, False, False, True)
    assert Frame(2, b"x").text is None
    assert Frame(1, b"\xff").text == "\ufffd"
    assert Frame(9).is_control
    assert repr(Frame(2, b"abc", from_client=False)) == "<frame opcode=2 fin=True size=3>"


def test_what_a_close_frame_can_hold() -> None:
    assert repr(Close(1008, "why")) == "Close(1008, 'why')"
    assert Close(4999).reason == ""
    for code in (0, 999, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match="can't be sent"):
            Close(code)
    with pytest.raises(ValueError, match="123 bytes"):
        Close(1000, "\u20ac" * 42)
    assert repr(DROP) == "DROP"
