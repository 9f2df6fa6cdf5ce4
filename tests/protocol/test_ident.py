"""The question to an identd, and what it may say to it."""

from __future__ import annotations

import pytest

from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.ident import Answer, decode_answer, encode_query
from tests.protocol.playbook import wire

THEIRS, OURS = 6193, 23
FRED = Answer(b"fred")


def test_the_question() -> None:
    assert encode_query(THEIRS, OURS) == b"6193, 23\r\n"


ANSWERS = [
    pytest.param("'6193, 23 : USERID : UNIX : fred' 0D0A", FRED, id="as in RFC 1413"),
    pytest.param("'6193,23:USERID:UNIX:fred' 0D0A", FRED, id="without blanks"),
    pytest.param("'6193 ,23  : userid : OTHER,US-ASCII :fred' 0A", FRED, id="with others, and a bare LF"),
    pytest.param("'1, 23 : USERID : UNIX : fred' 0D0A", None, id="another of their ports"),
    pytest.param("'6193, 24 : USERID : UNIX : fred' 0D0A", None, id="another of our ports"),
    pytest.param("'23, 6193 : USERID : UNIX : fred' 0D0A", None, id="the ports exchanged"),
    pytest.param("'6193, 24 : ERROR : NO-USER' 0D0A", None, id="an error of another connection"),
    pytest.param("'6193, 23 : USERID : UNIX : a:b' 0D0A", Answer(b"a:b"), id="a colon in the name"),
    pytest.param("'6193, 23 : USERID : UNIX : ' FF 0D0A", Answer(b"\xff"), id="not UTF-8"),
    pytest.param("'6193, 23 : USERID : UNIX :' 0D0A", Answer(b""), id="an empty name"),
    pytest.param("'6193, 23 : ERROR : NO-USER' 0D0A", Answer(None, "NO-USER"), id="an error"),
    pytest.param("'6193, 23 : ERROR : ' 1B5B 0D0A", Answer(None, "\\x1b["), id="an error with a control character"),
    pytest.param("'6193, 23 : USERID : UNIX' 0D0A", None, id="no name"),
    pytest.param("'6193, 23 : HELLO : UNIX : fred' 0D0A", None, id="another kind"),
    pytest.param("'6193 : USERID : UNIX : fred' 0D0A", None, id="one port"),
    pytest.param("'6193, 023456 : USERID : UNIX : fred' 0D0A", None, id="a long port"),
    pytest.param("'HTTP/1.1 400 Bad Request' 0D0A", None, id="HTTP"),
    pytest.param("0A", None, id="an empty line"),
    pytest.param("'6193, 23 : USERID : UNIX : ' 'f'*1000", None, id="too long, without an end"),
]


@pytest.mark.parametrize("way", ["whole", "byte by byte", "with more after it"])
@pytest.mark.parametrize(("said", "answer"), ANSWERS)
def test_answers(said: str, answer: Answer | None, way: str) -> None:
    data = wire(said)
    if way == "byte by byte" and data.endswith(b"\n"):
        for end in range(len(data)):
            assert decode_answer(data[:end], THEIRS, OURS) is None
    if way == "with more after it":
        data += b"and more\r\n"
    if answer:
        assert decode_answer(data, THEIRS, OURS) == answer
    else:
        with pytest.raises(ProtocolError):
            decode_answer(data, THEIRS, OURS)


def test_as_long_as_it_may_be() -> None:
    head = b"6193, 23 : USERID : UNIX : "
    name = b"f" * (1000 - len(head))
    assert decode_answer(head + name + b"\r\n", THEIRS, OURS) == Answer(name)
    assert decode_answer(head + name + b"\r", THEIRS, OURS) is None


def test_the_name_is_not_shown() -> None:
    assert "fred" not in repr(FRED)
