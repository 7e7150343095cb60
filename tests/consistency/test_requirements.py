# SPDX-License-Identifier: MIT
"""What the documents say that hosts need is what is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases

KINDS = {"control host": "control", "worker host": "worker", "both in one": "both", "registry host": "registry"}
GB = 1000**3 / 1024**2


def test_the_document_has_the_figures_that_are_checked(root: Path) -> None:
    needs = yaml.safe_load((root / "roles/trigger/vars/main/main.yml").read_text())["__trigger_host_needs"]
    text = (root / "docs/requirements.md").read_text()
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) GB \| (\d+) GiB \| ([\d.]+) GiB \|$", text, re.MULTILINE)
    assert {KINDS[row[0]] for row in rows} == set(needs)
    for kind, cpus, memory_gb, docker_gib, directory_gib in rows:
        need = needs[KINDS[kind]]
        assert (need["cpus"], need["docker_mib"]) == (int(cpus), int(docker_gib) * 1024), kind
        assert need["directory_mib"] == float(directory_gib) * 1024, kind
        # The kernel keeps a little of what a machine is sold with.
        assert 0.95 * int(memory_gb) * GB <= need["memory_mib"] <= int(memory_gb) * GB, kind


def test_the_document_has_the_table_by_which_memory_is_shared(root: Path) -> None:
    services = yaml.safe_load((root / "roles/webapp/vars/main/services.yml").read_text())["__webapp_services"]
    shares = {name: row["memory"]["steps_mib"] for name, row in services.items()}
    # One of two object stores is there; the other one takes its share from the row of the first.
    steps = {name: mib for name, mib in shares.items() if isinstance(mib, list)}
    text = (root / "docs/requirements.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert {name: [int(mib) for mib in row] for name, *row in rows} == steps
    (sums,) = re.findall(r"^\| MiB left to the services \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert [int(mib) for mib in sums] == [sum(column) for column in zip(*steps.values(), strict=True)]


HOSTS: dict[str, tuple[int, bool, dict[str, Any], bool]] = {
    # Name -> memory in MiB, whether it is a worker too, settings, and whether everything fits.
    "as small as the document allows": (5600, False, {}, True),
    "as small as the document allows, with a worker": (11300, True, {}, True),
    "too small": (3900, False, {}, False),
    "of 8 GB": (7500, False, {}, True),
    "of 8 GB with a webapp that takes too much": (7500, False, {"webapp_memory_mib": 6144}, False),
    "of 8 GB with a webapp that takes more": (7500, False, {"webapp_memory_mib": 3072}, True),
    "of 64 GB": (63000, False, {}, True),
    "of 8 GB without bundled databases": (
        7500,
        False,
        {
            "webapp_postgres_url": "postgresql://a@b/c",
            "webapp_clickhouse_url": "http://a@b:8123",
            "webapp_memory_mib": 4096,
        },
        True,
    ),
}


@pytest.mark.parametrize("worker", [False, True])
def test_limits_fit_the_host_as_a_whole(root: Path, tmp_path: Path, worker: bool) -> None:
    cases = {name: row for name, row in HOSTS.items() if row[1] == worker}
    rendered = render_cases(
        tmp_path,
        "trigger",
        "compose_project",
        "webapp",
        host="control.example.com",
        workers=("control.example.com" if worker else "worker.example.com",),
        wanted={
            "limits": "__webapp_memory_mib",
            "heap": "__webapp_heap_mib",
            "fits": "__webapp_memory_fits",
            "message": "__webapp_memory_message",
        },
        cases={
            name: {
                "trigger_origin": "https://trigger.example.com",
                "trigger_gateway_enabled": True,
                "__trigger_engine": {"MemTotal": mib * 2**20},
                **settings,
            }
            for name, (mib, _, settings, _) in cases.items()
        },
    )
    for name, (mib, _, settings, fits) in cases.items():
        row = rendered[name]
        limits = row["limits"]
        assert bool(row["fits"]) == fits, f"{name}: {limits}"
        if fits:
            # A tenth for the system, 512 for the registry, 256 for the gateway.
            assert sum(limits.values()) <= mib * 0.9 / (2 if worker else 1) - 768, name
        assert int(row["heap"]) < limits["webapp"], name
        assert limits["webapp"] == settings.get("webapp_memory_mib", limits["webapp"]), name
        assert str(sum(limits.values())) in row["message"], name
        assert ("webapp_memory_mib" in row["message"]) == ("webapp_memory_mib" in settings), name
    if not worker:
        assert max(rendered["of 64 GB"]["limits"].values()) == 6144
        outside = {"trigger-postgres", "trigger-clickhouse"}
        assert set(rendered["of 8 GB without bundled databases"]["limits"]) == (
            set(rendered["of 64 GB"]["limits"]) - outside
        )


def test_a_dry_run_without_an_engine_shows_the_limits_of_the_deployment(root: Path, tmp_path: Path) -> None:
    row = {
        "image": "docker.io/library/one:1",
        "cpus": 3.0,
        "memory_mib": 6144,
        "healthcheck": {"test": ["CMD", "true"]},
    }
    project = {
        "compose_project_name": "one",
        "compose_project_role": "one",
        "compose_project_environments": {},
        "compose_project_extra_environments": {},
        "compose_project_definition": {"services": {"one": row}},
    }
    measured = {"__trigger_host": {"host": {"cpus": 2, "memory_mib": 4096}}}
    rendered = render_cases(
        tmp_path,
        "trigger",
        "compose_project",
        host="control.example.com",
        wanted={
            "text": f"lookup('ansible.builtin.template', '{root}/roles/compose_project/templates/compose.yml.j2')",
            "told": "__compose_project_clamped",
        },
        cases={
            "before": {"__trigger_engine": {}, **measured, **project},
            "after": {
                "__trigger_engine": {"NCPU": 2, "MemTotal": 4096 * 2**20},
                **project,
            },
            "unknown": project,
        },
    )
    services = {name: yaml.safe_load(case["text"])["services"]["one"] for name, case in rendered.items()}
    assert (services["before"]["cpus"], services["before"]["mem_limit"]) == (2.0, "4096m")
    assert services["before"] == services["after"]
    assert rendered["before"]["told"] == rendered["after"]["told"] != []
    assert (services["unknown"]["cpus"], services["unknown"]["mem_limit"]) == (3.0, "6144m")


def test_disks_of_every_store_of_images_are_measured(tmp_path: Path) -> None:
    engine = {"ServerVersion": "28.1", "DockerRootDir": "/docker"}
    stopped = {"DockerRootDir": "", "DriverStatus": None, "SecurityOptions": None}
    contained = engine | {
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
    }
    cases: dict[str, dict[str, Any]] = {
        name: {
            "__trigger_engine": answer,
            "__trigger_host_kind": "worker",
        }
        for name, answer in {"no engine": {}, "stopped": stopped, "own": engine, "contained": contained}.items()
    }
    found = render_cases(
        tmp_path,
        "trigger",
        host="one.example.com",
        wanted={"disks": "__trigger_needs.disks_mib", "apparmor": "__trigger_needs.apparmor_used"},
        cases=cases,
    )
    assert {name: value["apparmor"] for name, value in found.items()} == {
        "no engine": True,
        "stopped": True,
        "own": False,
        "contained": True,
    }
    assert {name: list(value["disks"]) for name, value in found.items()} == {
        "no engine": ["/opt/trigger", "/var/lib/docker"],
        "stopped": ["/opt/trigger"],
        "own": ["/opt/trigger", "/docker"],
        "contained": ["/opt/trigger", "/docker", "/var/lib/containerd"],
    }


def test_packages_of_a_pinned_engine(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "newest": {"docker_engine_source": "docker"},
        "series": {"docker_engine_source": "docker", "docker_engine_version": "28.5"},
        "release": {"docker_engine_source": "docker", "docker_engine_version": "28.5.2"},
        "distribution": {"docker_engine_source": "distribution", "docker_engine_version": "26.1.5"},
        "apparmor": {"docker_engine_source": "docker", "docker_engine_version": "28.5"},
    }
    found = render_cases(
        tmp_path,
        *("trigger", "docker_engine"),
        host="one.example.com",
        wanted={"packages": "__docker_engine_wanted_packages"},
        cases={
            name: given | {"__trigger_host": {"host": {"apparmor": name == "apparmor"}}}
            for name, given in cases.items()
        },
    )
    docker = ["docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"]
    pinned = {name: set(value["packages"]) for name, value in found.items()}
    assert pinned["newest"] == set(docker)
    assert pinned["series"] == {"docker-ce=5:28.5.*", "docker-ce-cli=5:28.5.*", *docker[2:]}
    assert pinned["apparmor"] == {*pinned["series"], "apparmor"}
    assert pinned["release"] == {"docker-ce=5:28.5.2-*", "docker-ce-cli=5:28.5.2-*", *docker[2:]}
    assert pinned["distribution"] == {"docker.io=26.1.5*", "docker-cli=26.1.5*", "docker-compose", "iptables"}


def test_the_key_of_the_repository_comes_over_https(tmp_path: Path) -> None:
    """Packages are checked by it, so a mirror in plain http must not give it in plain http."""
    rendered = render_cases(
        tmp_path,
        *("trigger", "docker_engine"),
        host="control.example.com",
        wanted={"key": "docker_engine_key_url", "packages": "docker_engine_repository_url"},
        cases={"mirror": {"docker_engine_repository_url": "http://mirror.example.com/docker"}, "usual": {}},
    )
    assert rendered["mirror"] == {
        "key": "https://mirror.example.com/docker",
        "packages": "http://mirror.example.com/docker",
    }
    assert rendered["usual"]["key"] == rendered["usual"]["packages"] == "https://download.docker.com/linux"
