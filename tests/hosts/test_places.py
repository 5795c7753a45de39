"""`--hosts` in every form: what it says of this process, and what is refused."""

import pytest

from rlbench.errors import UsageError
from rlbench.hosts.places import Place, find_place, without_names

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[07-09]",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


def test_the_first_entry_is_process_0_s_and_every_entry_is_a_process():
    assert find_place("node1:7777,node2, node2", "2") == Place("node1", 7777, 3, 2)
    assert find_place("localhost:80,localhost", "0") == Place("localhost", 80, 2, 0, local=True)
    assert find_place("[::1]:80,[::2]", "1") == Place("::1", 80, 2, 1)
    assert find_place("localhost:80,node2", "0") == Place("localhost", 80, 2, 0, local=False)
    assert find_place("", "") is None


BAD = {
    "no port": ("node1,node2", "0", "HOST:PORT"),
    "port in words": ("node1:http,node2", "0", "HOST:PORT"),
    "port 0": ("node1:0,node2", "0", "1 to 65535"),
    "port too large": ("node1:65536,node2", "0", "1 to 65535"),
    "no host": (":7777,node2", "0", "HOST:PORT"),
    "an empty entry": ("node1:7777,,node2", "0", "entry ''"),
    "a second port": ("node1:7777,node2:7777", "0", "'node2:7777' must be the name of a host"),
    "one process": ("node1:7777", "0", "one process alone"),
    "no index": ("node1:7777,node2", "", "0 to 1, the place of this process in --hosts, and is"),
    "index too large": ("node1:7777,node2", "2", "0 to 1, .* not '2'"),
    "negative index": ("node1:7777,node2", "-1", "0 to 1, .* not '-1'"),
    "index in words": ("node1:7777,node2", "one", "0 to 1, .* not 'one'"),
    "index without hosts": ("", "1", "needs --hosts"),
    "index and a launcher": ("auto", "1", "the launcher sets it"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_form_is_refused_with_what_was_expected(name):
    hosts, index, expected = BAD[name]
    with pytest.raises(UsageError, match=expected):
        find_place(hosts, index)


def test_slurm_tells_the_place(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    place = find_place("auto", "")
    assert (place.host, place.count, place.index, place.accelerators) == ("node07", 3, 2, (0,))
    assert 1024 < place.port < 65536
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert find_place("auto", "").port == place.port  # all must call at the same one
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert find_place("auto", "") is None


def test_open_mpi_tells_the_place(monkeypatch):
    monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911")
    for name, value in {"SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", value)
    place = find_place("auto", "")
    assert (place.host, place.count, place.index) == ("10.96.0.1", 4, 3)


def test_without_a_launcher_it_is_said_what_was_looked_for(monkeypatch):
    for name in (*SLURM, "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"SLURM .*Open MPI .*Kubernetes .*HOST:PORT,HOST"):
        find_place("auto", "")


def test_a_broken_launcher_environment_is_told(monkeypatch):
    for name, value in (SLURM | {"SLURM_NTASKS": "three"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="three"):
        find_place("auto", "")


def test_a_command_line_for_others_to_read_names_no_machine():
    argv = ["run", "--hosts", "node1:7777,node2", "--host-index", "1", "--hosts=a:1,b,c", "--quiet"]
    assert without_names(argv) == [
        *["run", "--hosts", "HOST:PORT,HOST", "--host-index", "1"],
        *["--hosts=HOST:PORT,HOST,HOST", "--quiet"],
    ]
    assert without_names(["--hosts", "auto"]) == ["--hosts", "auto"]
