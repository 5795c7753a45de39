"""Lines between processes: messages whole and in order, and no loss untold or made up."""

import contextlib
import json
import socket
import threading
import time

import pytest

from rlbench.hosts.lines import SILENT_BEATS, Line

BEAT = 0.05


def connection():
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


@pytest.fixture
def pair():
    """A line, and the bare other end of it."""
    near, far = connection()
    far.settimeout(10)
    line = Line(near, BEAT)
    yield line, far
    line.close()
    far.close()


def lost(line, seconds=10.0):
    """How the other end was lost, once it was; empty if it was not."""
    told = []
    come = threading.Event()

    def note(how):
        told.append(how)
        come.set()

    line.watch(note, lambda message: False)
    come.wait(seconds)
    return "".join(told)


def test_messages_arrive_whole_and_in_order_however_they_are_cut(pair):
    line, far = pair
    sent = [{"n": i, "text": "x" * i * 997, "t": i / 3} for i in range(40)]
    data = b"".join(b"\n" + json.dumps(m).encode() + b"\n" for m in sent)
    for i in range(0, len(data), 777):
        far.sendall(data[i : i + 777])
    assert [line.receive(10) for _ in sent] == sent


def test_both_ends_can_talk_at_once_and_idle_for_longer_than_silence():
    ends = [Line(s, BEAT) for s in connection()]
    told = []
    for end in ends:
        end.watch(told.append, lambda message: False)
    time.sleep(2 * SILENT_BEATS * BEAT)
    for end, name in zip(ends, "ab", strict=True):
        end.send({"from": name})
    assert [end.receive(10) for end in ends] == [{"from": "b"}, {"from": "a"}]
    assert told == []
    for end in ends:
        end.close()


def test_a_closed_connection_is_a_loss_at_once(pair):
    line, far = pair
    far.close()
    assert "closed" in lost(line)


def test_a_connection_that_is_reset_is_closed_too(pair):
    line, far = pair
    while not far.recv(1, socket.MSG_PEEK):
        time.sleep(BEAT)
    far.close()  # with a sign of life unread
    assert lost(line) == "its connection closed"


def test_a_loss_before_anybody_watches_is_told_when_somebody_does(pair):
    line, far = pair
    far.close()
    while not line.lost:
        time.sleep(BEAT)
    assert "closed" in lost(line, seconds=0)


def test_silence_is_a_loss_after_some_beats_and_not_before(pair):
    line, far = pair
    begun = time.monotonic()
    assert "no sign of life" in lost(line)
    assert time.monotonic() - begun >= SILENT_BEATS * BEAT * 0.9
    far.close()


def test_signs_of_life_come_by_themselves(pair):
    line, far = pair
    begun = time.monotonic()
    got = b""
    while len(got) < 5:
        got += far.recv(1)
    assert got == b"\n" * 5 and time.monotonic() - begun >= 4 * BEAT * 0.9
    line.close()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\n", b"[1]\n", b"[" * 100_000 + b"\n", b"x" * (3 << 20)], ids=len
)
def test_what_is_no_message_is_a_loss(data, pair):
    line, far = pair

    def send():
        with contextlib.suppress(OSError):  # it need not listen to the end
            far.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    assert "no message" in lost(line)


def test_an_end_that_closes_itself_is_not_lost(pair):
    line, far = pair
    line.close()
    far.close()
    assert lost(line, seconds=4 * BEAT) == ""


def test_a_message_for_the_watcher_is_not_received(pair):
    line, far = pair
    line.watch(lambda how: None, lambda message: "watcher" in message)
    far.sendall(b'{"watcher": 1}\n{"main": 2}\n')
    assert line.receive(10) == {"main": 2}
