# SPDX-License-Identifier: MIT
"""The program that the timer of the status starts: as the role installs it, on a host without Ansible."""

from __future__ import annotations

import http.server
import importlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import LOCAL_TEXT
from trigger_status import __main__ as program

from testbed.common import ROOT
from tests.plays import render_cases

CONTROL = "control.example.com"
COMMON = {
    "trigger_version": "v4.5.12",
    "status_schedule": "hourly",
    "role_path": str(ROOT / "roles/status"),
}
BEHIND = {"trigger_origin": "https://trigger.example.com"}
REGISTRY = "https://registry.trigger.example.com/v2/"
STORE = "https://objects.trigger.example.com"
HEALTH = "https://trigger.example.com/healthcheck"
WORKERS = ("a.example.com", "b.example.com", "idle.example.com")
# An engine with a webapp and its database. $BROKEN is what of it fails.
DOCKER = r"""#!/bin/sh
case $* in *$BROKEN*) echo "it is broken" >&2; exit 1 ;; esac
case $* in
  info*) echo '{"ServerVersion": "28.1"}' ;;
  ps*) printf 'trigger-webapp\twebapp\tFalse\tab\tx\tghcr.io/triggerdotdev/trigger.dev:v4.5.12\trunning\tUp 2 h\n' ;;
  *"--services") echo webapp ;;
  *redis-cli*) printf 'used_memory:1048576\r\nmaxmemory:104857600\r\nqueue:bootstrap\n0\njobs\n2\n' ;;
  *psql*)
    case $(cat) in
      *pg_replication_slots*)
        echo '[{"name": "task_runs_to_clickhouse_v1", "active": true, "wal": "reserved", "lag": 0},'
        echo ' {"name": "electric_slot_default", "active": true, "wal": "reserved", "lag": 0}]' ;;
      *WorkerInstance*)
        echo '[{"name": "control.example.com", "group_name": "bootstrap", "heartbeat_age": 12.5,'
        echo '  "contact_age": 12.5, "contact_at": "", "connected_last": false, "created_at": ""}]' ;;
      *delayUntil*) echo '[{"number": 0}]' ;;
      *) echo '[]' ;;
    esac ;;
esac
"""
WELL = {
    *("Docker Engine", "trigger-webapp/webapp", "drift of trigger-webapp", "image of trigger-webapp/webapp", "memory"),
    *("replication slot task_runs_to_clickhouse_v1", "replication slot electric_slot_default", "backup"),
    *("runs", "waiting runs", "stuck runs"),
    *("webapp", f"heartbeat of {CONTROL}", "queues", "memory of Redis"),
    *("advisories for v4.5.12", "versions newer than v4.5.12"),
}


class Webapp(http.server.BaseHTTPRequestHandler):
    """Says that it is healthy."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthcheck" else 404)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a webapp."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webapp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for an installation."""
    return tmp_path_factory.mktemp("status")


@pytest.fixture(scope="module")
def rendered(folder: Path, port: int) -> dict[str, dict[str, Any]]:
    """Case -> what the role writes: for root alone, or for the gateway, too."""
    given = {**COMMON, "trigger_directory": str(folder / "trigger")}
    return render_cases(
        folder,
        *("trigger", "webapp", "status"),
        host=CONTROL,
        wanted={"folders": "__status_folders", "files": "__status_files"},
        cases={
            "it": {**given, "trigger_origin": f"http://{CONTROL}:{port}", "webapp_port": port},
            "served": {**given, **BEHIND, "gateway_tls": "internal", "status_page_enabled": True},
        },
    )


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of the program."""
    (text,) = (file["content"] for file in row["files"] if file["path"] == "settings.json")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("case", "statuses", "place"),
    [
        ({}, {HEALTH: [200], REGISTRY: [200, 401], STORE: []}, "127.0.0.1"),
        ({"trigger_bind_address": "192.0.2.7"}, {HEALTH: [200], REGISTRY: [200, 401], STORE: []}, "192.0.2.7"),
        # The proxy in front has the certificate.
        ({"gateway_tls": "off"}, {HEALTH: [200], REGISTRY: [200, 401], STORE: []}, None),
        ({"trigger_private_address": "192.0.2.7", "registry_enabled": False}, {HEALTH: [200]}, "127.0.0.1"),
        ({"__trigger_registry_hosts": ["elsewhere"], "webapp_object_store": "external"}, {HEALTH: [200]}, "127.0.0.1"),
    ],
    ids=("all", "bound", "off", "private", "elsewhere"),
)
def test_names_are_asked_for_where_this_host_serves_them(
    tmp_path: Path, case: dict[str, Any], statuses: dict[str, list[int]], place: str | None
) -> None:
    found = render_cases(
        tmp_path,
        *("trigger", "webapp", "status"),
        host=CONTROL,
        wanted={"endpoints": "__status_endpoint_arguments.endpoints", "ca": "__status_endpoint_arguments.ca_file"},
        cases={"it": {**COMMON, **BEHIND, "gateway_tls": "internal", **case}},
    )["it"]
    assert {row["url"]: row["statuses"] for row in found["endpoints"]} == statuses
    assert {row.get("connect_to") for row in found["endpoints"]} == {place}
    assert found["ca"] == (None if place is None else "/opt/trigger/ca.pem")


def test_each_worker_group_is_asked_for_its_supervisors(tmp_path: Path) -> None:
    """Those that take no runs send no heartbeat."""
    variables: dict[str, dict[str, Any]] = {
        "a.example.com": {"supervisor_instances": [{"name": "a"}, {"name": "gpu", "group": "gpu"}]},
        "b.example.com": {"supervisor_heartbeat_interval_seconds": 100},
        "idle.example.com": {"supervisor_dequeue_enabled": False},
    }
    workers = [{"inventory_hostname": name, **variables[name]} for name in WORKERS]
    found = render_cases(
        tmp_path,
        *("trigger", "webapp", "status"),
        host=CONTROL,
        workers=WORKERS,
        wanted={"questions": "__status_heartbeat_questions"},
        cases={
            "some": {**COMMON, **BEHIND, "__trigger_worker_variables": workers},
            "none": {
                **COMMON,
                **BEHIND,
                "__trigger_worker_variables": [{**row, "supervisor_dequeue_enabled": False} for row in workers],
            },
        },
    )
    asked = {row["arguments"]["group"]: row["arguments"]["names"] for row in found["some"]["questions"]}
    assert asked == {"bootstrap": ["a", "b.example.com"], "gpu": ["gpu"]}
    assert {row["name"] for row in found["some"]["questions"]} == {"worker_instance_info"}
    assert {row["arguments"]["max_age"] for row in found["some"]["questions"]} == {360}
    assert found["none"]["questions"] == []


@pytest.fixture(scope="module")
def directory(folder: Path, rendered: dict[str, dict[str, Any]]) -> Path:
    """Give the folder of an installation, with the program as the role writes it."""
    done = rendered["it"]
    (folder / "trigger/status").mkdir(parents=True)
    for row in done["folders"]:
        (folder / "trigger/status" / row["path"]).mkdir()
    for row in done["files"]:
        file = folder / "trigger/status" / row["path"]
        file.write_text(row["content"])
        file.chmod(int(row.get("mode", "0600"), 8))
    for name in ("webapp", "backup"):
        (folder / "trigger" / name).mkdir()
    (folder / "trigger/webapp/compose.yml").write_text("# Ansible managed\nname: trigger-webapp\n\nservices: {}\n")
    (folder / "bin").mkdir()
    (folder / "bin/docker").write_text(DOCKER)
    (folder / "bin/docker").chmod(0o700)
    return folder


def start(directory: Path, broken: str = "nothing") -> tuple[subprocess.CompletedProcess[str], dict[str, Any], str]:
    """Run it with what the operating system brings, and give its document and its page."""
    page = directory / "trigger/status/page"
    environment = {"PATH": f"{directory}/bin:/usr/bin:/bin", "BROKEN": broken}
    done = subprocess.run(
        [directory / "trigger/status/trigger-status"], env=environment, capture_output=True, text=True, check=False
    )
    assert {path.name: path.stat().st_mode & 0o777 for path in page.iterdir()} == {
        "status.html": 0o600,
        "status.json": 0o600,
    }, done.stderr
    return done, json.loads((page / "status.json").read_text()), (page / "status.html").read_text()


def test_a_host_that_is_well(directory: Path) -> None:
    done, report, page = start(directory)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    jsonschema.validate(report, json.loads((ROOT / "docs/status.schema.json").read_text()))
    assert (report["scope"], report["ok"], report["trigger_version"]) == ("local", True, "v4.5.12")
    (host,) = report["hosts"]
    assert host["name"] == CONTROL
    rows = {check["what"]: check for check in host["checks"]}
    assert set(rows) >= WELL
    assert rows["image of trigger-webapp/webapp"]["warning"] is False
    assert "Everything works" in page
    assert LOCAL_TEXT in page
    assert "replication slot electric_slot_default" in page


def test_the_page_is_for_root_unless_the_gateway_serves_it(
    rendered: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user of the gateway's container may read it, and write nothing."""
    readers, folders = {}, {}
    for case, row in rendered.items():
        readers[case] = told(row)["reader"]
        folders[case] = row["folders"][0]
    assert readers == {"it": None, "served": 65532}
    assert folders == {"it": {"path": "page"}, "served": {"path": "page", "group": 65532, "mode": "0750"}}
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _file, user, group: owners.append((user, group)))
    page, left = tmp_path / "status.html", tmp_path / ".status.html.new"
    left.write_text("of a run that was interrupted, and longer than what comes")
    left.chmod(0o666)
    for reader, mode in ((None, 0o600), (65532, 0o640), (None, 0o600)):
        program.replace(page, "a page", reader)
        assert (page.read_text(), page.stat().st_mode & 0o777) == ("a page", mode)
    assert owners == [(-1, 65532)]
    assert [path.name for path in tmp_path.iterdir()] == ["status.html"]


def test_what_is_wrong_is_told_and_fails_the_unit(directory: Path) -> None:
    done, report, page = start(directory, "psql")
    assert done.returncode == 1
    assert done.stderr == "These checks failed: replication slots, runs, heartbeats of bootstrap\n"
    assert (report["ok"], report["wrong"]) == (False, 3)
    assert "3 of " in page


@pytest.mark.parametrize("blocks", [0, 1, 8])
def test_a_page_that_cannot_be_written_does_not_leave_the_one_before(directory: Path, blocks: int) -> None:
    """No file may grow beyond some blocks of 512 bytes: that fails where a full disk does, at different files."""
    start(directory)
    page = directory / "trigger/status/page"
    assert sorted(path.name for path in page.iterdir()) == ["status.html", "status.json"]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks}; exec "$0"', directory / "trigger/status/trigger-status"],
        env={"PATH": f"{directory}/bin:/usr/bin:/bin", "BROKEN": "nothing"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "The page is not written, and the one before is removed: [Errno 27] File too large\n"
    assert list(page.iterdir()) == []


def test_a_module_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {"a": {"checks": [{"what": "x", "ok": True, "detail": ""}]}}

    def ask(name: str, arguments: Any) -> Any:
        if name == "told":
            raise program.RefusedError("it says why")
        return answers[name]

    monkeypatch.setattr(program, "ask", ask)
    known = {"what": "known", "ok": True, "detail": "without a question"}
    modules: list[dict[str, Any]] = [{"name": name, "arguments": {}} for name in ("told", "unknown hunter2", "a")]
    assert list(program.checks({"rows": [known], "modules": modules})) == [
        known,
        {"what": "told", "ok": False, "detail": "it says why"},
        {"what": "unknown hunter2", "ok": False, "detail": "ends by KeyError"},
        {"what": "x", "ok": True, "detail": ""},
    ]


def test_arguments_that_a_module_does_not_know_are_refused() -> None:
    with pytest.raises(program.RefusedError, match="unknown arguments: b"):
        program.filled({"a": {"type": "str"}}, {"b": 1})
    spec = {"a": {"default": 1}, "b": {"options": {"c": {"default": 2}, "d": {}}}, "e": {"options": {}}}
    assert program.filled(spec, {"b": {"d": 3}}) == {"a": 1, "b": {"c": 2, "d": 3}, "e": None}
    assert program.filled(spec, {"b": [{"d": 3}, {"c": 4}]})["b"] == [{"c": 2, "d": 3}, {"c": 4, "d": None}]
    with pytest.raises(program.RefusedError, match="unknown arguments: x"):
        program.filled(spec, {"b": [{"x": 3}]})


def test_every_module_answers_as_it_does_with_ansible(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The class that stands in for AnsibleModule must not make an answer another one."""

    def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        return Completed(1, "", "it is broken")

    told = json.loads((directory / "trigger/status/settings.json").read_text())
    assert [row["name"] for row in told["modules"]] == [
        *("host_health_info", "web_endpoint_info", "replication_slot_info", "task_run_info", "backup_info"),
        *("redis_queue_info", "worker_instance_info"),
    ]
    for row in told["modules"]:
        module: Any = importlib.import_module(f"{program.PLUGINS}.modules.{row['name']}")
        if hasattr(module, "run"):
            monkeypatch.setattr(module, "run", run)
        before = module.AnsibleModule
        found = program.ask(row["name"], row["arguments"])["checks"]
        assert module.AnsibleModule is before
        with patch_module_args({**row["arguments"], "_ansible_check_mode": True}), pytest.raises(SystemExit):
            module.main()
        expected = json.loads(capsys.readouterr().out)["checks"]
        assert [each["what"] for each in found] == [each["what"] for each in expected]
        assert [each["ok"] for each in found] == [each["ok"] for each in expected]
        assert found
