"""What processes agree on: everybody gets process 0's word, and nobody goes on without the others.

Each process is a thread here; `tests/test_hosts.py` has real ones.
"""

import socket
import threading
import time

import pytest

from rlbench.errors import UsageError
from rlbench.hosts.lines import Line
from rlbench.hosts.places import Place
from rlbench.hosts.team import Alone, Team

COUNT = 3


def connected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return Line(near), Line(server.accept()[0])


@pytest.fixture
def teams():
    """The three processes of a run, in the order of their indices."""
    ends = {i: connected() for i in range(1, COUNT)}

    def team(index):
        lines = {i: end[0] for i, end in ends.items()} if index == 0 else {0: ends[index][1]}
        return Team(Place("localhost", 1, COUNT, index), lines, (), 0)

    made = [team(i) for i in range(COUNT)]
    yield made
    made[0].over()
    made[0].end("ok", "")
    while not all(team.finished for team in made):  # the loss of one would end this process
        time.sleep(0.01)
    for line in (line for end in ends.values() for line in end):
        line.close()


def in_all(teams, what, order=(0, 1, 2), patience=10.0):
    """What each process gets from `what(team)`, begun in this order; errors by their text."""
    got = {}

    def work(i):
        try:
            got[i] = what(teams[i])
        except UsageError as error:
            got[i] = str(error)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in order]
    for thread in threads:
        thread.start()
        thread.join(0.2)
    for thread in threads:
        thread.join(patience)
    return [got.get(i, "waits") for i in range(COUNT)]


def decided(wishes, clocks):
    def work(team):
        heard = team.hear(wishes[team.index])
        return team.tell(heard, clocks[team.index])

    return work


@pytest.mark.parametrize("who", [None, 0, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_one_wish_to_stop_stops_all_and_process_0_s_clock_counts(who, order, teams):
    wishes, clocks = [i == who for i in range(COUNT)], [0.1 + 0.2, 7.0, 8.0]
    told = in_all(teams, decided(wishes, clocks), order)
    assert told == [(who is not None, 0.1 + 0.2)] * COUNT  # the same float, to the last bit


def test_decisions_follow_each_other_without_mixing(teams):
    def work(team):
        return [team.tell(team.hear(team.index == 2 and i == 50), float(i)) for i in range(100)]

    expected = [(i == 50, float(i)) for i in range(100)]
    assert in_all(teams, work) == [expected] * COUNT


@pytest.mark.parametrize("missing", range(COUNT))
def test_nobody_goes_on_before_all_are_there(missing, teams):
    def work(team):
        team.same({"a": (1, 2)})
        return "goes on"

    order = [i for i in range(COUNT) if i != missing]
    assert in_all(teams, work, order, patience=0.5) == ["waits"] * COUNT
    assert in_all(teams, work, [missing])[missing] == "goes on"


def test_what_differs_is_named_and_lets_nobody_go_on(teams):
    told = in_all(teams, lambda team: team.same({"seed": 5 * (team.index == 2)}), patience=0.5)
    assert told[0] == (
        "process 2 was started with another command: seed is 5 there and 0 in process 0"
    )
    assert told[1:] == ["waits", "waits"]


def test_the_end_is_process_0_s_and_then_its_loss_is_none(teams):
    teams[0].end("diverged", "there")
    assert [team.outcome() for team in teams[1:]] == [("diverged", "there")] * 2


def test_a_process_alone_decides_for_itself():
    alone = Alone()
    assert alone.tell(alone.hear(True), 1.5) == (True, 1.5)
    assert alone.tell(alone.hear(False), 2.5) == (False, 2.5)
    alone.leave(3, "and goes on")
