# SPDX-License-Identifier: MIT
"""What the playbook status asks of a host, and the rows that it makes of the answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.modules import host_health_info, task_run_info

from tests.plays import render_cases
from tests.prometheus import rule_files, rules

# Alert -> what its expression ends with, by the limit of the status.
LIMITS = {
    "TriggerRunDoesNotStart": f"> {task_run_info.LIMITS['stuck_seconds']}",
    "TriggerRunsCrash": f">= {task_run_info.CRASHES_LEAST}",
    "TriggerMemoryLow": f"< {host_health_info.MEMORY_LOW_PERCENT / 100}",
}
CONTROL, WORKER = "control.example.com", "worker1.example.com"
ROW = {"what": "a", "ok": True, "detail": "b"}
REDIS = {"what": "queues", "ok": True, "detail": "d"}
CLOCK = {"asked_at": 0.0, "began_at": 0.0, "ended_at": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "monitored": {"monitoring_enabled": True, "task_images_clean_enabled": False},
    # As seen from a host that is no control host, and whose clock is behind.
    "worker": {
        "monitoring_enabled": True,
        "task_images_clean_schedule": "weekly",
        "__trigger_control_hosts": [WORKER],
        "__status_host": {"checks": [ROW], "clock": {"asked_at": 100.0, "began_at": 93.0, "ended_at": 94.0}},
    },
}


@pytest.fixture(scope="module")
def rendered(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Give the arguments of the module that looks at a host, and the rows."""
    tasks = yaml.safe_load((root / "roles/status/tasks/collect.yml").read_text())
    (look,) = [task for task in tasks if "selfhosted.trigger_dev.host_health_info" in task]
    (store,) = [task for task in tasks if task["name"] == "Store the status of this host"]
    (answer,) = yaml.safe_load((root / "roles/supervisor/tasks/status_instance.yml").read_text())[:1]
    common = {
        "trigger_origin": "https://trigger.example.com",
        "arguments": look["selfhosted.trigger_dev.host_health_info"],
        "found": store["ansible.builtin.set_fact"]["__status_found"],
        "images": answer["ansible.builtin.set_fact"]["__supervisor_status_images"],
        "__webapp_status_images": {"trigger-webapp/webapp": "example.com/trigger:v1"},
        "__status_host": {"checks": [ROW], "clock": CLOCK},
        "__supervisor_index": 0,
    }
    return render_cases(
        tmp_path_factory.mktemp("status"),
        *("trigger", "supervisor", "status"),
        host=CONTROL,
        workers=[WORKER, CONTROL],
        wanted={"arguments": "arguments", "found": "found", "images": "images"},
        cases={name: common | case for name, case in CASES.items()},
    )


def test_a_host_is_asked_for_everything_that_is_deployed(rendered: dict[str, dict[str, Any]]) -> None:
    asked = rendered["default"]["arguments"]
    assert asked["projects"] == {
        "trigger-webapp": "/opt/trigger/webapp",
        "trigger-registry": "/opt/trigger/registry",
        "trigger-gateway": "/opt/trigger/gateway",
    }
    assert asked["images"] == {"trigger-webapp/webapp": "example.com/trigger:v1"}
    assert asked["alertmanager"] == ""
    # It is a worker, too.
    assert asked["cleaned_file"] == "/opt/trigger/supervisor/task_images.json"
    assert int(asked["cleaned_max_seconds"]) == 86400 + 900
    assert float(asked["asked_at"]) > 1.7e9


def test_monitoring_is_asked_where_it_is(rendered: dict[str, dict[str, Any]]) -> None:
    asked = rendered["monitored"]["arguments"]
    assert asked["projects"]["trigger-monitoring"] == "/opt/trigger/monitoring"
    assert asked["alertmanager"] == "trigger-monitoring-alertmanager-1"
    assert asked["cleaned_file"] == ""
    worker = rendered["worker"]["arguments"]
    assert worker["cleaned_file"].endswith("/task_images.json")
    assert int(worker["cleaned_max_seconds"]) == 8 * 86400
    assert worker["projects"] == {"trigger-monitoring": "/opt/trigger/monitoring"}
    assert worker["alertmanager"] == ""


def test_the_image_of_each_supervisor_is_known(rendered: dict[str, dict[str, Any]]) -> None:
    (row,) = rendered["default"]["images"].items()
    assert row[0] == "trigger-supervisor/supervisor"
    assert "/triggerdotdev/supervisor:v4." in row[1]


def test_status_and_alerts_have_the_same_limits() -> None:
    found = {str(rule.get("alert")): str(rule["expr"]) for file in rule_files() for rule in rules(file)}
    assert {name: found[name].endswith(limit) for name, limit in LIMITS.items()} == dict.fromkeys(LIMITS, True)
    waits, _, unless = found["TriggerRunWaits"].partition(" unless ")
    assert waits.endswith(f"> {task_run_info.LIMITS['waiting_max_seconds']}")
    assert unless.endswith("== 0")
    assert (
        f"> {task_run_info.CRASHES_SHARE}\n" in found["TriggerRunsCrash"]
        or f"> {task_run_info.CRASHES_SHARE} " in found["TriggerRunsCrash"]
    )


def test_a_clock_that_is_wrong_is_a_row(rendered: dict[str, dict[str, Any]]) -> None:
    first, clock = rendered["default"]["found"]
    assert first == ROW
    assert (clock["what"], clock["ok"]) == ("clock", True)
    _, clock = rendered["worker"]["found"]
    assert not clock["ok"]
    assert clock["detail"].startswith("at least 7.0 s behind the controller's, 5 s are allowed")


WEBAPPS: dict[str, dict[str, Any]] = {
    "old": {"trigger_version": "v4.2.0"},
    "new": {"trigger_version": "v4.5.12"},
    "newest": {"trigger_version": "v4.9.1"},
    "floating": {"trigger_version": "latest"},
    "outside": {"webapp_redis_host": "redis.example.com"},
}


@pytest.fixture(scope="module")
def webapps(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Give the rows of the control host by their names, and what Redis is asked."""
    tasks = yaml.safe_load((root / "roles/webapp/tasks/status.yml").read_text())
    (ask,) = [task for task in tasks if task["name"] == "Read memory and queues of Redis"]
    found = render_cases(
        tmp_path_factory.mktemp("webapps"),
        *("trigger", "webapp"),
        host=CONTROL,
        wanted={"rows": "rows", "asked": "asked"},
        cases={
            name: {
                "trigger_origin": "https://trigger.example.com",
                "__trigger_worker_groups": ["bootstrap", "eu-1.a_b"],
                "__webapp_slots": {"checks": []},
                "__webapp_runs": {"checks": [ROW]},
                "__webapp_bucket_look": {"object_store": {"exists": True, "answer": ""}},
                "__webapp_redis": {"checks": [REDIS]},
                "rows": tasks[-1]["ansible.builtin.set_fact"]["__webapp_status"],
                "asked": ask["selfhosted.trigger_dev.redis_queue_info"],
                **case,
            }
            for name, case in WEBAPPS.items()
        },
    )
    return {
        name: {"asked": each["asked"], "rows": {row["what"]: row for row in each["rows"]}}
        for name, each in found.items()
    }


def test_the_bundled_redis_is_asked(webapps: dict[str, dict[str, Any]]) -> None:
    asked = webapps["old"]["asked"]
    assert asked == {"container": "trigger-webapp-trigger-redis-1", "groups": ["bootstrap", "eu-1.a_b"]}
    assert webapps["old"]["rows"]["queues"] == REDIS
    assert "queues" not in webapps["outside"]["rows"]
    assert webapps["outside"]["rows"]["a"] == ROW


def test_newer_versions_are_those_of_the_tables(webapps: dict[str, dict[str, Any]]) -> None:
    details = {
        name: row["detail"]
        for each in webapps.values()
        for name, row in each["rows"].items()
        if name.startswith("versions newer than")
    }
    assert details == {
        "versions newer than v4.2.0": "tested: v4.5.12; known, and not tested: 4.8",
        "versions newer than v4.5.12": "known, and not tested: 4.8",
        "versions newer than v4.9.1": "none that this collection knows",
        "versions newer than latest": "none that this collection knows",
    }


def test_the_timer_has_all_that_its_modules_import(root: Path) -> None:
    plugins = root / "plugins"
    given = yaml.safe_load((root / "roles/status/vars/main/schedule.yml").read_text())
    needed: set[str] = set()
    waiting = [plugins / "modules" / f"{name}.py" for name in given["__status_modules"]]
    waiting += (root / "roles/status/files/trigger_status").glob("*.py")
    while waiting:
        found = set(re.findall(r"module_utils[.](_\w+)(?: import|\"\))", waiting.pop().read_text())) - needed
        needed |= found
        waiting += [plugins / "module_utils" / f"{name}.py" for name in found]
    assert needed == set(given["__status_module_parts"])


def test_a_run_that_leaves_hosts_out_does_not_say_that_everything_works(root: Path, tmp_path: Path) -> None:
    """As with --limit: these are in the inventory, and not in the play."""
    checks = {"status_checks": {CONTROL: [ROW]}, "status_unreachable": []}
    given = {"trigger_origin": "https://trigger.example.com", "trigger_version": "v4.5.12", **checks}
    schema = json.loads((root / "docs/status.schema.json").read_text())
    pages = {}
    for name, workers in {"all": [CONTROL], "some": [WORKER, "<b>.example.com", CONTROL]}.items():
        (tmp_path / name).mkdir()
        wanted = {"report": "__status_report", "page": "__status_report | selfhosted.trigger_dev.status_page"}
        found = render_cases(
            tmp_path / name, *("trigger", "status"), host=CONTROL, workers=workers, wanted=wanted, cases={"it": given}
        )["it"]
        jsonschema.validate(found["report"], schema)
        assert found["report"]["scope"] == name
        assert found["report"].get("left_out", []) == [host for host in workers if host != CONTROL]
        pages[name] = found["page"]
    assert "<h1>Everything works</h1>" in pages["all"]
    assert "Not looked at" not in pages["all"]
    assert "<h1>Everything that was looked at works</h1>" in pages["some"]
    assert f"Not looked at, although in the inventory: {WORKER}, &lt;b&gt;.example.com</p>" in pages["some"]
