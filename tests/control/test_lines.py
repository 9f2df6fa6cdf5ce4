import pytest
import trio

from chainsocks.control.lines import LineReader, LineTooLongError


async def read_all(*chunks: bytes, longest: int = 100) -> list[bytes]:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    lines = LineReader(theirs, longest)
    found = []
    for chunk in chunks:
        await ours.send_all(chunk)
    await ours.aclose()
    while (line := await lines.read()) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b"one\ntwo\n\nfour\n"], id="at-once"),
        pytest.param([bytes((byte,)) for byte in b"one\ntwo\n\nfour\n"], id="by-bytes"),
        pytest.param([b"one\ntwo\n\nfour\npart"], id="part-at-the-end"),
    ],
)
async def test_lines_are_read_however_they_come(chunks: list[bytes]) -> None:
    assert await read_all(*chunks) == [b"one", b"two", b"", b"four"]


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_that_is_too_long_is_an_error(end: bytes) -> None:
    assert await read_all(b"x" * 100 + b"\n") == [b"x" * 100]
    with pytest.raises(LineTooLongError):
        await read_all(b"x" * 101 + end)


async def test_a_cancelled_read_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    lines = LineReader(theirs, 100)
    await ours.send_all(b"on")
    with trio.move_on_after(1):
        await lines.read()
    await ours.send_all(b"e\n")
    assert await lines.read() == b"one"
