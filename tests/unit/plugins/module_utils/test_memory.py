# SPDX-License-Identifier: MIT
"""Memory of a host and its containers, by files in the form of the kernel's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._memory import Memory, memory, used_by_containers

ONE, TWO, OUTER = "1" * 64, "2" * 64, "3" * 64


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_what_can_be_dropped_is_available() -> None:
    assert memory("MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable: 1024 kB\nHugePages_Total: 0\n") == Memory(
        2**21, 2**20
    )


# Path of the process's group -> folder of the container's, with the drivers systemd and cgroupfs, in a container with
# systemd in it, and on a host that is a container itself.
PATHS = {
    f"/system.slice/docker-{ONE}.scope": f"system.slice/docker-{ONE}.scope",
    f"/docker/{ONE}": f"docker/{ONE}",
    f"/docker/{ONE}/init.scope": f"docker/{ONE}",
    f"/docker/{OUTER}/docker/{ONE}": f"docker/{OUTER}/docker/{ONE}",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_is_found_by_its_processes(tmp_path: Path, path: str, version: int) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    lines = f"0::{path}\n" if version == 2 else f"9:name=systemd:/\n4:cpu,memory:{path}\n0::/\n"
    write(proc, {"1/cgroup": "0::/init.scope\n", "20/cgroup": lines, "21/cgroup": lines, "self/cgroup": lines})
    folder = PATHS[path] if version == 2 else f"memory/{PATHS[path]}"
    total, cached = (
        ("memory.current", "inactive_file") if version == 2 else ("memory.usage_in_bytes", "total_inactive_file")
    )
    write(cgroups, {f"{folder}/{total}": "3000\n", f"{folder}/memory.stat": f"anon 5\n{cached} 1000\n"})
    assert used_by_containers([ONE, TWO], proc, cgroups) == {ONE: 2000}
    assert used_by_containers([TWO, OUTER], proc, cgroups) == {}


def test_a_kernel_that_does_not_count_hides_nothing_else(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    write(proc, {"1/cgroup": f"0::/docker/{ONE}\n", "2/cgroup": f"0::/docker/{TWO}\n"})
    write(cgroups, {f"docker/{TWO}/memory.current": "7\n", f"docker/{TWO}/memory.stat": "", f"docker/{ONE}/x": ""})
    assert used_by_containers([ONE, TWO], proc, cgroups) == {TWO: 7}
