"""Bodies held for plugins: in memory, then on disk."""

from bascule.engine.held_body import SPILL_BYTES, HeldBody


def test_what_is_appended_is_read_and_passed_on_in_pieces() -> None:
    body = HeldBody()
    assert (body.size, body.read(), body.complete) == (0, b"", False)
    body.append(b"abc")
    assert body.read(2) == b"ab"
    body.append(b"def")  # reading does not move the end
    assert body.read() == b"abcdef"
    assert [body.piece(0, 4), body.piece(4, 4), body.piece(6)] == [b"abcd", b"ef", b""]
    body.append(b"g")
    assert (body.size, body.read()) == (7, b"abcdefg")
    body.close()


def test_past_a_size_it_goes_to_disk_and_reads_the_same() -> None:
    body = HeldBody()
    block = bytes(range(256)) * 256
    for _ in range(SPILL_BYTES // len(block) + 2):
        body.append(block)
    whole = block * (SPILL_BYTES // len(block) + 2)
    assert body.size == len(whole)
    assert body.read() == whole
    assert b"".join(body.piece(at) for at in range(0, body.size, 65536)) == whole
    body.append(b"end")
    assert body.piece(len(whole)) == b"end"
    body.close()
