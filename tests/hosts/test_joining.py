"""How processes find each other: all get the same, and nobody joins who does not fit."""

import contextlib
import socket
import threading
import time
from dataclasses import replace

import pytest

from rlbench.errors import UsageError
from rlbench.hosts import joining
from rlbench.hosts.lines import Line
from rlbench.hosts.places import Place

SAYS = {"versions": {"jax": "1", "rlbench": "2"}, "commit": "abc"}


@pytest.fixture
def place():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return Place("127.0.0.1", port, 3, 0, local=True)


def hello(index, count=3, **changed):
    return {"index": index, "count": count, **SAYS, "about": f"machine {index}", **changed}


class Joining:
    """Processes, each a thread here: what became of each, by the name given to it."""

    def __init__(self, place):
        self.place, self.ended, self._threads, self._lines = place, {}, [], []

    def start(self, name, says, wait=20.0):
        def work():
            try:
                self.ended[name] = self._join(says, wait)
            except UsageError as error:
                self.ended[name] = str(error)

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _join(self, says, wait):
        mine = replace(self.place, index=says["index"])
        if says["index"]:
            line, said = joining.call(mine, says, lambda note: None, wait)
            self._lines.append(line)
            return said
        found = joining.gather(mine, says, lambda note: None, wait)
        self._lines += found.lines.values()
        for index, line in found.lines.items():
            line.send({"to": index})
        return found.hellos

    def wait(self):
        for thread in self._threads:
            thread.join(30)
        for line in self._lines:
            line.close()
        return self.ended


def test_whoever_comes_first_each_is_known_by_its_index(place):
    together = Joining(place)
    for index in (2, 0, 1):
        together.start(index, hello(index))
        time.sleep(0.3)
    ended = together.wait()
    assert ended == {0: {i: hello(i) for i in range(3)}, 1: {"to": 1}, 2: {"to": 2}}


REFUSED = {
    "another version": (
        hello(2, versions={"jax": "9", "rlbench": "2"}),
        "process 2 does not fit: versions.jax is 9 there and 1 in process 0",
    ),
    "another commit": (hello(2, commit="xyz"), "commit is xyz there and abc in process 0"),
    "another count": (hello(2, count=4), "count is 4 there and 3 in process 0"),
    "an index twice": (hello(1), "two processes have --host-index 1"),
    "index 0 twice": (None, "port {port} is in use on this machine"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_who_does_not_fit_is_told_and_so_are_all(name, place):
    says, expected = REFUSED[name]
    together = Joining(place)
    together.start(0, hello(0))
    together.start(1, hello(1))
    time.sleep(0.5)
    together.start("odd", says or hello(0))
    if says is None:
        time.sleep(1.0)
        together.start(2, hello(2))
    ended = together.wait()
    told = {"odd"} if says is None else {0, 1, "odd"}
    for who in told:
        assert expected.format(port=place.port) in ended[who]
    assert all(not isinstance(ended[who], str) for who in ended.keys() - told)


def test_who_does_not_come_is_named(place):
    together = Joining(place)
    together.start(0, hello(0), wait=1.5)
    together.start(1, hello(1))
    ended = together.wait()
    assert ended[0] == ended[1]
    assert "process 2 of 3 did not come within 1.5 s" in ended[0]


def test_a_process_0_that_does_not_answer_is_told(place):
    together = Joining(place)
    together.start(1, hello(1), wait=0.5)
    assert f"process 0 does not answer at 127.0.0.1:{place.port}" in together.wait()[1]


def test_one_who_leaves_before_all_have_come_is_told(place):
    together = Joining(place)
    together.start(0, hello(0))
    time.sleep(0.3)
    gone = Line(socket.create_connection((place.host, place.port)))
    gone.send(hello(1))
    time.sleep(0.5)
    gone.close()
    assert "process 1 of 3 left before all had come" in together.wait()[0]


def test_strangers_are_not_let_in_and_hold_nobody_up(place):
    together = Joining(place)
    together.start(0, hello(0))
    time.sleep(0.3)
    strangers = [socket.create_connection((place.host, place.port)) for _ in range(3)]
    with contextlib.suppress(OSError):
        strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers[1].sendall(b'{"index": "one"}\n')
    for index in (1, 2):
        together.start(index, hello(index))
    assert together.wait()[0].keys() == {0, 1, 2}
    for stranger in strangers:
        stranger.close()


def test_something_else_on_the_port_is_no_process_0(place):
    with socket.create_server((place.host, place.port)) as server:
        together = Joining(place)
        together.start(1, hello(1))
        other, _ = server.accept()
        other.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        assert "sent what is no message" in together.wait()[1]
        other.close()


def test_the_first_difference_is_named_by_its_path():
    ours = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert joining.difference(ours, ours) == ""
    told = joining.difference(ours, {"a": 1, "b": {"c": [1, 3], "d": None}})
    assert told == "b.c is [1, 3] there and [1, 2] in process 0"
    assert joining.difference(ours, {"a": 1}) == (f"b is None there and {ours['b']} in process 0")
