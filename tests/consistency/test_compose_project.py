# SPDX-License-Identifier: MIT
"""In which order a project comes about, and what a dry run asks Compose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import run_plays, variable_files


def local(tasks: list[dict[str, Any]], *roles: str, **variables: Any) -> dict[str, Any]:
    """A play on this machine."""
    return {
        "name": "Try it",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": variable_files(*roles),
        "vars": {"ansible_python_interpreter": sys.executable, **variables},
        "tasks": tasks,
    }


def ask(tmp_path: Path, tasks: list[dict[str, Any]], *options: str, **variables: Any) -> None:
    """Play assertions about the variables of the role on this machine."""
    play = local(tasks, "trigger", "compose_project", **variables)
    done = run_plays(tmp_path, [play], "-i", "localhost,", *options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_an_archive_that_cannot_be_loaded_leaves_the_compose_file(root: Path) -> None:
    tasks = yaml.safe_load((root / "roles/compose_project/tasks/prepare.yml").read_text())
    included = [task.get("ansible.builtin.include_tasks") for task in tasks]
    assert included.index("images.yml") < included.index("files.yml")
    assert "compose.yml" not in (root / "roles/compose_project/tasks/images.yml").read_text()


def test_limits_are_computed_from_what_the_host_has(root: Path) -> None:
    """A role that is played alone learns it from the first tasks."""
    tasks = yaml.safe_load((root / "roles/compose_project/tasks/prepare.yml").read_text())
    names = [task["name"] for task in tasks]
    engine, definition = names.index("Read the state of the engine"), names.index("Store the definition")
    assert engine < definition < names.index("Write the files of the project")


@pytest.mark.parametrize("options", [[], ["--check"]], ids=["run", "dry-run"])
def test_a_dry_run_does_not_judge_files_that_the_run_would_replace(tmp_path: Path, options: list[str]) -> None:
    tasks: list[dict[str, Any]] = [
        {
            "name": f"Files changed: {changed}",
            "ansible.builtin.assert": {"that": f"__compose_project_pending_dry_run == {bool(options) and changed}"},
            # A unit that differs is no file of the project.
            "vars": {"__compose_project_folder": {"changed": True, "written": ["a"] * changed, "fresh": False}},
        }
        for changed in (False, True)
    ]
    ask(tmp_path, tasks, *options)
    up = (Path(__file__).parents[2] / "roles/compose_project/tasks/up.yml").read_text()
    assert "when: not __compose_project_pending_dry_run" in up


@pytest.mark.parametrize("settled", [False, True])
def test_what_compose_leaves_broken_is_found_in_a_project_that_it_would_not_touch(
    tmp_path: Path, *, settled: bool
) -> None:
    """The call that writes the files has asked; a container that has lost its network runs on, and is healthy."""
    row = {
        "Name": "example-a-1",
        "Service": "a",
        "State": "running",
        "Health": "",
        "CreatedAt": "2026-11-29 02:02:06 +0000 UTC",
    }
    lost = {"containers": [row | {"Networks": [""]}], "actions": []}
    well = {"containers": [row | {"Networks": ["front"]}], "actions": []}
    task = {
        "name": "Ask",
        "ansible.builtin.assert": {
            "that": ["__compose_project_needs_repair", "__compose_project_repairs.recreate == ['a']"]
        },
        "vars": {
            "__compose_project_is_settled": settled,
            "__compose_project_folder": {"modified": {}, "compose": lost if settled else well},
            "__compose_project_start": {"skipped": True} if settled else lost,
            "__compose_project_rendered": {"services": {"a": {"networks": ["front"]}}},
            "compose_project_directory": "/opt/example",
        },
    }
    ask(tmp_path, [task])


def test_only_a_project_that_was_asked_just_now_is_not_started(root: Path) -> None:
    """Between `prepare` and `up` other tasks may touch it, so `up` alone starts it in any case."""
    tasks = {
        name: yaml.safe_load((root / f"roles/compose_project/tasks/{name}.yml").read_text()) for name in ("main", "up")
    }
    assert [list(task.get("vars", {})) for task in tasks["main"]] == [[], ["__compose_project_is_settled"]]
    start = next(task for task in tasks["up"] if "block" in task)["block"][0]
    assert start["when"] == "not __compose_project_is_settled"
    variables = yaml.safe_load((root / "roles/compose_project/vars/main.yml").read_text())
    assert variables["__compose_project_is_settled"] is False


PORTS: dict[str, tuple[list[Any], list[str], list[str]]] = {
    "free": ([8030, 9000], [], []),
    "own": ([80, "81"], [], []),
    "of another project": ([80, 82], [], ["82 other"]),
    "of a container without one": ([83], [], ["83 another-program"]),
    "of a program": ([22], [], ["22 another-program"]),
    "of what an adoption replaces": ([82], ["other"], []),
    # Its container is being started again at the moment, so nothing listens there.
    "own, not listening": ([84], [], []),
}


def test_who_has_a_port_that_is_taken(tmp_path: Path) -> None:
    published = [(80, "example"), (81, "example"), (82, "other"), (83, ""), (84, "example")]
    host = {
        "listening": [22, 80, 81, 82, 83],
        "published": [{"port": port, "project": project} for port, project in published],
    }
    tasks = [
        {
            "name": f"Ask {name}",
            "ansible.builtin.assert": {"that": [f"__compose_project_taken == {taken}"]},
            "vars": {"compose_project_ports": ports, "__adopt_projects": projects},
        }
        for name, (ports, projects, taken) in PORTS.items()
    ]
    ask(tmp_path, tasks, compose_project_name="example", __trigger_host={"host": host})


def test_ports_that_are_free_cost_no_message(root: Path, tmp_path: Path) -> None:
    """Ansible computes the message of an assertion that holds, too."""
    task = yaml.safe_load((root / "roles/compose_project/tasks/ports.yml").read_text())[-1]
    task["vars"] = {"compose_project_ports": [8030], "compose_project_port_variables": "{{ 1 // 0 }}"}
    ask(tmp_path, [task], compose_project_name="example", __trigger_host={"host": {"listening": [], "published": []}})


def test_a_dry_run_repairs_nothing(root: Path) -> None:
    told, repair = yaml.safe_load((root / "roles/compose_project/tasks/repair.yml").read_text())
    assert told["when"] == "ansible_check_mode"
    assert repair["when"] == "not ansible_check_mode"
    assert len(repair["block"]) == 4


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [
                "p-db-1 db:14 Up 3 hours (healthy)",
                "p-web-1 r.example.com/web:v2 Up 9 seconds (unhealthy)",
                "p-b-1 b:1 Created",
            ],
            [
                "Of its containers, these are running and healthy: p-db-1 (db:14) ",
                "--- p-web-1 (r.example.com/web:v2): Up 9 seconds (unhealthy)",
                "log of p-web-1",
                "--- p-b-1 (b:1): Created",
                "log of p-b-1",
            ],
        ),
        ([], ["Of its containers, these are running and healthy: none"]),
    ],
)
def test_a_failure_tells_what_still_runs(root: Path, tmp_path: Path, rows: list[str], said: list[str]) -> None:
    """With its version, by its image: the run may have replaced it, or have stopped before that."""
    tasks = yaml.safe_load((root / "roles/compose_project/tasks/up.yml").read_text())
    (block,) = [task for task in tasks if "rescue" in task]
    argv = block["rescue"][0]["ansible.builtin.command"]["argv"]
    script = argv[2].replace('{{ "{{" }}', "{{").replace('{{ "}}" }}', "}}")
    listing = "".join(f"echo '{row}'\n" for row in rows)
    wanted = '[ "$4" = label=com.docker.compose.project=p ] && [ "$6" = "{{.Names}} {{.Image}} {{.Status}}" ] || exit 9'
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\nif [ "$1" = logs ]; then echo "log of $4"; exit; fi\n{wanted}\n{listing}'
    )
    (tmp_path / "docker").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script, "sh", "p"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == said


@pytest.mark.parametrize(("failures", "code"), [(2, 0), (3, 0), (9, 2)])
def test_a_registry_that_does_not_answer_for_a_moment_ends_no_upgrade(
    root: Path, tmp_path: Path, failures: int, code: int
) -> None:
    """The first image is there after the first attempt, and is not pulled again."""
    (tmp_path / "docker").write_text(
        f"""#!/bin/sh
cd {tmp_path}; name=$(basename "$(for last; do :; done; echo "$last")")
if [ "$1" = image ]; then test -e "there.$name"; exit; fi
echo "$name" >>pulled
[ "$name" = a ] || [ $(grep -c b pulled) -gt {failures} ] || {{ echo "dial tcp: i/o timeout" >&2; exit 1; }}
touch "there.$name"; echo "Downloaded $name"
"""
    )
    (tmp_path / "docker").chmod(0o755)
    (task,) = (
        row for row in yaml.safe_load((root / "roles/compose_project/tasks/pull.yml").read_text()) if "until" in row
    )
    assert task["delay"] > 5
    play = local(
        [task | {"delay": 0}, {"ansible.builtin.assert": {"that": "__compose_project_pulled is changed"}}],
        "compose_project",
        compose_project_images=["a", "b"],
        compose_project_pull_fault="%s.",
    )
    done = run_plays(tmp_path, [play], "-i", "localhost,", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    pulled = (tmp_path / "pulled").read_text().split()
    assert pulled == ["a", *["b"] * min(failures + 1, task["retries"] + 1)]


def test_a_dry_run_pulls_nothing_and_does_not_wait(root: Path, tmp_path: Path) -> None:
    (task,) = (
        row for row in yaml.safe_load((root / "roles/compose_project/tasks/pull.yml").read_text()) if "until" in row
    )
    play = local([task], "compose_project", compose_project_images=["a"], compose_project_pull_fault="%s.")
    done = run_plays(tmp_path, [play], "-i", "localhost,", "--check")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "FAILED - RETRYING" not in done.stdout


def test_a_project_that_was_moved_away_since_the_host_was_looked_at_is_none(root: Path, tmp_path: Path) -> None:
    """As by a restore, which takes the files of before aside. Compose would refuse a folder that is not there."""
    tasks = yaml.safe_load((root / "roles/compose_project/tasks/absent.yml").read_text())
    play = local(
        [task for task in tasks if "block" in task],
        *("trigger", "compose_project"),
        compose_project_directory=str(tmp_path / "registry"),
        __trigger_traces_found=[str(tmp_path / "registry/compose.yml")],
    )
    done = run_plays(tmp_path, [play], "-i", "localhost,")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "changed=0" in done.stdout
    stat, down, _ = play["tasks"][0]["block"]
    assert down["when"] == f"{stat['register']}.stat.exists"


def test_a_restore_is_followed_by_another_look_at_the_host(root: Path) -> None:
    """What the backup brings is removed by what was seen, if the inventory has disabled it."""
    tasks = yaml.safe_load((root / "roles/backup/tasks/restore.yml").read_text())
    names = [task["name"] for task in tasks]
    measured = [task["name"] for task in tasks if "'measure'" in str(task)]
    assert len(measured) == 1
    assert names.index(measured[0]) > names.index("Check that the backup is restored")
    assert "when" not in tasks[names.index(measured[0])]


@pytest.mark.parametrize(
    ("docker", "code", "said"),
    [
        ("exec sleep 60", 1, "Docker gave no answer within 1 s"),
        ("exit 1", 0, ""),
        ("echo trigger-webapp-webapp-1 172.18.0.2/16", 0, "trigger-webapp-webapp-1 172.18.0.2/16\n"),
    ],
)
def test_a_daemon_that_hangs_is_not_waited_for(root: Path, tmp_path: Path, docker: str, code: int, said: str) -> None:
    (task,) = (row for row in yaml.safe_load((root / "roles/webapp/tasks/local.yml").read_text()) if "register" in row)
    script, *rest = task["ansible.builtin.command"]["argv"][2:]
    assert rest[:3] == ["sh", "{{ __trigger_front_network }}", "{{ __webapp_front_seconds }}"]
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script, "sh", "front", "1", "{{range .Containers}}"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert bool(done.stdout) == (said != "" and code == 0)
