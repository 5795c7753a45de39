"""A cell is in one process's hands at a time, and never in a dead one's for ever."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rlbench.sweep.claims import DONE, FOLDER, OWNER, Claims

ROOT = Path(__file__).resolve().parents[2]
CLAIM_ALL = """
import sys, time
from pathlib import Path
from rlbench.sweep.claims import Claims
root, count = Path(sys.argv[1]), int(sys.argv[2])
while not (root / "go").exists():
    time.sleep(0.001)
with Claims(root) as claims:
    for i in range(count):
        if claims.claim(f"c{i}"):
            claims.finish(f"c{i}", {"by": sys.argv[3]})
            print(i)
"""


def start(root, count, name, code=CLAIM_ALL):
    words = [sys.executable, "-c", code, str(root), str(count), name]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_many_processes_claim_every_cell_exactly_once(tmp_path):
    racers = [start(tmp_path, 200, str(i)) for i in range(6)]
    time.sleep(1.0)
    (tmp_path / "go").touch()
    claimed = [int(line) for racer in racers for line in racer.communicate()[0].split()]
    assert sorted(claimed) == list(range(200))


def test_dead_claims_are_taken_over_by_one_of_many(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with Claims(tmp_path) as claims:
        for i in range(50):
            assert claims.claim(f"c{i}")
        owner = json.loads((tmp_path / FOLDER / "c0" / OWNER).read_text()) | {"pid": dead.pid}
        claims._mine.clear()  # as if this process were gone: it gives nothing back
    for i in range(50):
        (tmp_path / FOLDER / f"c{i}" / OWNER).write_text(json.dumps(owner))
    racers = [start(tmp_path, 50, str(i)) for i in range(6)]
    time.sleep(1.0)
    (tmp_path / "go").touch()
    claimed = [int(line) for racer in racers for line in racer.communicate()[0].split()]
    assert sorted(claimed) == list(range(50))


def test_a_living_owner_keeps_its_claim(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.claim("c") and not other.claim("c") and not one.claim("c")
        one.release("c")
        assert other.claim("c")


def test_a_silent_owner_elsewhere_loses_its_claim_and_a_beating_one_does_not(tmp_path):
    with Claims(tmp_path, beat=0.1, stale=1.0) as one, Claims(tmp_path, stale=1.0) as other:
        assert one.claim("beats") and one.claim("silent")
        for name in ("beats", "silent"):  # of another machine, as far as its file tells
            file = tmp_path / FOLDER / name / OWNER
            file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "elsewhere"}))
        one._mine.discard("silent")
        time.sleep(1.6)
        assert other.claim("silent") and not other.claim("beats")


def test_who_was_taken_over_knows_it_and_harms_nobody(tmp_path):
    with Claims(tmp_path, stale=0.0) as other:
        with Claims(tmp_path) as one:
            assert one.claim("c") and one.claim("mine") and one.holds("c")
            file = tmp_path / FOLDER / "c" / OWNER
            file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "elsewhere"}))
            time.sleep(0.1)
            assert other.claim("c")
            assert not one.holds("c") and one.holds("mine") and other.holds("c")
        # What one gives back at its end is what it has.
        assert other.holds("c") and not (tmp_path / FOLDER / "mine").exists()
        other.finish("c", {"status": "ok"})
        assert not other.holds("c")


def test_a_claim_without_an_owner_is_dead_only_after_a_while(tmp_path):
    with Claims(tmp_path, stale=1.0) as claims:
        folder = tmp_path / FOLDER / "c"
        folder.mkdir()
        assert not claims.claim("c")
        old = time.time() - 100
        os.utime(folder, (old, old))
        assert claims.claim("c")


def test_what_is_done_stays_done(tmp_path):
    with Claims(tmp_path) as claims:
        assert claims.claim("c")
        claims.finish("c", {"status": "ok"})
    (tmp_path / FOLDER / "c" / OWNER).unlink()
    os.utime(tmp_path / FOLDER / "c", (0, 0))  # long ago
    with Claims(tmp_path, stale=0.0) as claims:
        assert not claims.claim("c")
        assert claims.states(["c", "d"]) == {"c": {"status": "ok"}, "d": None}
    assert (tmp_path / FOLDER / "c" / DONE).exists()


def test_a_record_that_was_damaged_is_none(tmp_path):
    with Claims(tmp_path) as claims:
        assert claims.claim("c")
        claims.finish("c", {"status": "ok", "seconds": 1.0})
    done = tmp_path / FOLDER / "c" / DONE
    done.write_text(done.read_text().replace("1.0", "7.0"))
    (tmp_path / FOLDER / "c" / OWNER).unlink()
    os.utime(tmp_path / FOLDER / "c", (0, 0))  # long ago
    with Claims(tmp_path, stale=0.0) as claims:
        assert claims.states(["c"]) == {"c": {}}
        assert claims.claim("c")  # to be looked at again
