import json
import math

import pytest

from chainsocks.control.messages import ControlError, Count, Fault, Request, Session, Sessions, Status, What
from chainsocks.control.wire import (
    encode_answer,
    encode_error,
    encode_request,
    from_document,
    read_answer,
    read_request,
)
from tests.control.fleets import SESSION, STATUS


@pytest.mark.parametrize(
    "request_",
    [
        *(Request(what=what) for what in What if what not in (What.KILL, What.REST, What.WAKE)),
        Request(what=What.KILL, id="a", session="2-17"),
        Request(what=What.KILL, id=5, user="carol", chain="default"),
        Request(what=What.REST, hop="osaka"),
        Request(what=What.DRAIN, delay=2.5),
    ],
    ids=lambda request_: request_.what,
)
def test_a_request_is_read_as_it_was_written(request_: Request) -> None:
    assert read_request(encode_request(request_)) == request_


@pytest.mark.parametrize(
    ("line", "fault", "message"),
    [
        (b"", Fault.BAD_REQUEST, "each line has to be a JSON object"),
        (b"GET / HTTP/1.1", Fault.BAD_REQUEST, "each line has to be a JSON object"),
        (b"\xff\xfe", Fault.BAD_REQUEST, "each line has to be a JSON object"),
        (b"[" * 10_000, Fault.BAD_REQUEST, "each line has to be a JSON object"),
        (b'["status"]', Fault.BAD_REQUEST, "each line has to be a JSON object"),
        (b'{"request": "status"}', Fault.UNSUPPORTED_VERSION, '"version" has to be 1, the only one there is'),
        (b'{"version": 2, "request": "status"}', Fault.UNSUPPORTED_VERSION, '"version" has to be 1'),
        (b'{"version": 1, "request": "stop"}', Fault.BAD_REQUEST, '"request" has to be one of status, sessions'),
        (b'{"version": 1, "request": []}', Fault.BAD_REQUEST, '"request" has to be one of status'),
        (b'{"version": 1, "request": "status", "hop": "x"}', Fault.BAD_REQUEST, 'status takes no "hop"'),
        (b'{"version": 1, "request": "status", "id": []}', Fault.BAD_REQUEST, '"id" has to be a text or a whole'),
        (b'{"version": 1, "request": "kill"}', Fault.BAD_REQUEST, "kill needs session or chain or user"),
        (b'{"version": 1, "request": "kill", "session": 1}', Fault.BAD_REQUEST, '"session" of kill has the wrong kind'),
        (b'{"version": 1, "request": "rest"}', Fault.BAD_REQUEST, "rest needs hop"),
        (b'{"version": 1, "request": "drain", "delay": -1}', Fault.BAD_REQUEST, '"delay" of drain has the wrong kind'),
        (b'{"version": 1, "request": "drain", "delay": 1e999}', Fault.BAD_REQUEST, '"delay" of drain has the wrong'),
        (b'{"version": 1, "request": "drain", "delay": true}', Fault.BAD_REQUEST, '"delay" of drain has the wrong'),
    ],
)
def test_what_is_no_request_is_refused(line: bytes, fault: Fault, message: str) -> None:
    with pytest.raises(ControlError) as caught:
        read_request(line)
    assert caught.value.fault is fault
    assert str(caught.value).startswith(message)


def test_a_refusal_repeats_the_id() -> None:
    with pytest.raises(ControlError) as caught:
        read_request(b'{"version": 1, "request": "stop", "id": 7}')
    with pytest.raises(ControlError) as told:
        read_answer(encode_error(caught.value.id, caught.value))
    assert (told.value.id, told.value.fault, told.value.message) == (7, Fault.BAD_REQUEST, caught.value.message)


def test_an_answer_is_read_as_it_was_written() -> None:
    part = read_answer(encode_answer(3, Sessions((SESSION,)), more=True))
    assert (part.id, part.more) == (3, True)
    assert from_document(Sessions, part.document) == Sessions((SESSION,))
    last = read_answer(encode_answer(None, STATUS))
    assert (last.id, last.more) == (None, False)
    assert from_document(Status, last.document) == STATUS


def test_keys_of_later_servers_are_ignored() -> None:
    assert from_document(Count, {"count": 3, "colour": "green"}) == Count(3)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"sessions": 3}, id="number"),
        pytest.param({"sessions": [{"id": "1"}]}, id="part"),
        pytest.param({"sessions": ["1"]}, id="text"),
    ],
)
def test_an_answer_of_another_shape_is_an_error(document: dict[str, object]) -> None:
    with pytest.raises(ControlError, match="the server sent no"):
        from_document(Sessions, document)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "each line has to be a JSON object"),
        (b'{"version": 2, "answer": {}}', "the server speaks another version than 1"),
        (b'{"version": 1, "answer": []}', "the server sent something that is no answer"),
        (b'{"version": 1, "error": {"code": "new", "message": "no"}}', "no"),
    ],
)
def test_what_is_no_answer_is_an_error(line: bytes, message: str) -> None:
    with pytest.raises(ControlError, match=message):
        read_answer(line)


def test_only_json_is_sent() -> None:
    """``Infinity`` is none."""
    document = json.loads(encode_answer(1, SESSION), parse_constant=pytest.fail)
    assert from_document(Session, document["answer"]) == SESSION
    with pytest.raises(ValueError, match="JSON"):
        encode_answer(1, {"left": math.inf})
