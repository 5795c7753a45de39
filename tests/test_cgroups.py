"""Limits of both versions, of a group and of those above it, also where a container hides them."""

from rlbench.cgroups import memory_room, processor_quota

UNLIMITED_V1 = 9223372036854771712


def group(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(f"{content}\n")


def test_the_room_of_a_version_2_group_is_the_least_that_it_and_those_above_leave(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/pods/mine\n")
    assert memory_room(groups, mount) is None  # nothing is limited
    kept = "anon 5\ninactive_file 300\nactive_file 20\nfile_mapped 9"
    mine = mount / "pods" / "mine"
    group(mine, memory__max=5000, memory__current=1000, memory__stat=kept)
    assert memory_room(groups, mount) == 5000 - 1000 + 320
    group(mount / "pods", memory__max=6000, memory__current=5900, memory__stat="anon 5900")
    assert memory_room(groups, mount) == 100
    group(mount / "pods", memory__max="max")
    assert memory_room(groups, mount) == 4320
    group(mine, memory__max=500)
    group(mine, memory__stat="inactive_file 0")
    assert memory_room(groups, mount) == 0  # it is over its limit already


def test_the_room_of_a_version_1_group_counts_its_own_names(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("5:cpu,cpuacct:/a\n4:memory:/docker/a\n0::/\nodd line\n")
    # In a container the group is where the host's root would be.
    limited = {"memory__limit_in_bytes": 4000, "memory__usage_in_bytes": 3000}
    group(mount / "memory", **limited, memory__stat="active_file 7\ntotal_active_file 50")
    assert memory_room(groups, mount) == 1050
    group(mount / "memory", memory__limit_in_bytes=UNLIMITED_V1)
    assert memory_room(groups, mount) == UNLIMITED_V1 - 2950
    assert memory_room(tmp_path / "none", mount) is None


def test_the_processor_time_of_both_versions(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/a/b\n")
    assert processor_quota(groups, mount) is None
    group(mount / "a", cpu__max="150000 100000")
    group(mount / "a" / "b", cpu__max="max 100000")
    assert processor_quota(groups, mount) == 1.5
    group(mount / "a" / "b", cpu__max="50000 100000")
    assert processor_quota(groups, mount) == 0.5
    group(mount / "a" / "b", cpu__max="300000 100000")
    assert processor_quota(groups, mount) == 1.5
    groups.write_text("1:cpu,cpuacct:/d\n0::/\n")
    group(mount / "cpu", cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    group(mount / "cpu" / "d", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert processor_quota(groups, mount) == 0.5
    group(mount / "cpu", cpu__cfs_quota_us=-1)
    assert processor_quota(groups, mount) is None
    assert processor_quota(tmp_path / "none", mount) is None
