# SPDX-License-Identifier: MIT
"""What the role supervisor takes and refuses: one run of its checks, each host of which asks for something else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import all_problems, load_rows

from tests.plays import render_cases, run_plays

ROWS = load_rows()["supervisor"] | load_rows()["runner_firewall"] | load_rows()["trigger"]


@dataclass(frozen=True)
class Refused:
    """Settings, and the words of the one message that they get."""

    values: dict[str, Any]
    words: list[str]
    # Not one of the checks of settings, which list everything that is wrong at once: it needs a host of its own.
    alone: bool = False


NEWER = {"trigger_version": "v4.5.12"}
# What the row of one setting refuses.
FORMS = {
    "name": Refused({"supervisor_instance_name": "two words"}, ["supervisor_instance_name", "two words"]),
    "no-name": Refused({"supervisor_instance_name": ""}, ["supervisor_instance_name"]),
    "zero": Refused(
        {"supervisor_dequeue_max_run_count": 0}, ["supervisor_dequeue_max_run_count must be from 1 to 1000, and is 0"]
    ),
    "negative": Refused(
        {"supervisor_dequeue_interval_ms": -5}, ["supervisor_dequeue_interval_ms must be from 10 to 60000, and is -5"]
    ),
    "fraction": Refused({"supervisor_dequeue_idle_interval_ms": "0.5"}, ["supervisor_dequeue_idle_interval_ms"]),
    "text": Refused({"supervisor_dequeue_max_consumer_count": "ten"}, ["supervisor_dequeue_max_consumer_count"]),
    "strategy": Refused({"supervisor_dequeue_scaling_strategy": "fast"}, ["supervisor_dequeue_scaling_strategy"]),
    "ratio": Refused({"supervisor_dequeue_scaling_target_ratio": 0}, ["supervisor_dequeue_scaling_target_ratio"]),
    "alpha": Refused(
        {"supervisor_dequeue_scaling_ewma_alpha": 1.5}, ["scaling_ewma_alpha must be from 0 to 1, and is 1.5"]
    ),
    "no-number": Refused({"supervisor_dequeue_scaling_damping_factor": "nan"}, ["_scaling_damping_factor must", "nan"]),
    "window": Refused({"supervisor_dequeue_scaling_batch_window_ms": 0}, ["_scaling_batch_window_ms must be from 1"]),
    "monitor": Refused(
        {"supervisor_resource_monitor_cpus": -1}, ["supervisor_resource_monitor_cpus must be from 0", "-1"]
    ),
    "flag": Refused({"supervisor_debug_enabled": "loud"}, ["supervisor_debug_enabled"]),
    "silent-runs": Refused(
        {"supervisor_runner_heartbeat_interval_seconds": 300},
        ["runner_heartbeat_interval_seconds must be from 0 to 240, and is 300"],
    ),
    "low-port": Refused(
        {"supervisor_workload_api_port": 80}, ["supervisor_workload_api_port must be from 1024", "is 80"]
    ),
    "high-port": Refused({"supervisor_metrics_port": 70000}, ["supervisor_metrics_port must", "65535, and is 70000"]),
    "metrics-host": Refused({"supervisor_metrics_host": "all"}, ["supervisor_metrics_host", "all", "0.0.0.0"]),
    "platform": Refused({"supervisor_runner_platform": "arm64"}, ["supervisor_runner_platform", "linux/amd64"]),
    "images": Refused(
        {"supervisor_allowed_images": ["a b", "registry.example.com:5000/trigger/", 'x"', "#y", "z\n"]},
        ["supervisor_allowed_images[0] must be the beginning", "'a b'", "registry.example.com:5000/", "'z\\n'"],
    ),
    "mode": Refused({"supervisor_proxy_mode": "loose"}, ["supervisor_proxy_mode"]),
    "telemetry": Refused({"supervisor_otlp_endpoint": "http://localhost:8030/otel"}, ["supervisor_otlp_endpoint"]),
    "allow": Refused({"runner_firewall_allow": ["db:port"]}, ["runner_firewall_allow", "db:port", "192.0.2.0/24"]),
    "deny": Refused(
        {"runner_firewall_deny": ["10.0.0.0/8", "a b"]}, ["runner_firewall_deny[1] must be an address", "'a b'"]
    ),
    "no-telemetry": Refused({"supervisor_otlp_endpoint": ""}, ["supervisor_otlp_endpoint must be set"]),
    "memory": Refused({"supervisor_memory_mib": 64}, ["supervisor_memory_mib must be from 256", "is 64"]),
}

REFUSED = {
    "consumers": Refused(
        {"supervisor_dequeue_min_consumer_count": 20},
        ["supervisor_dequeue_min_consumer_count is 20", "supervisor_dequeue_max_consumer_count (10)"],
    ),
    "heartbeat": Refused(
        {"supervisor_heartbeat_interval_seconds": 120},
        ["supervisor_heartbeat_timeout_seconds is 90", "supervisor_heartbeat_interval_seconds (120)"],
    ),
    "one-port": Refused({"supervisor_metrics_port": 8020}, ["supervisor_workload_api_port", "differ", "8020"]),
    "probe": Refused(
        {"supervisor_allowed_images": ["ghcr.io/"]}, ["supervisor_allowed_images must let", "/probe:1 pass"]
    ),
    "comma": Refused({"supervisor_runner_extra_env": {"PARTS": "a,b"}}, ["supervisor_runner_extra_env", "PARTS"]),
    "equals": Refused({"supervisor_runner_extra_env": {"QUERY": "a=b"}}, ["supervisor_runner_extra_env", "QUERY"]),
    "blanks": Refused({"supervisor_runner_extra_env": {"WIDE": " a"}}, ["supervisor_runner_extra_env", "WIDE"]),
    "lines": Refused({"supervisor_runner_extra_env": {"LINES": "a\nb"}}, ["supervisor_runner_extra_env", "LINES"]),
    "runner-empty": Refused({"supervisor_runner_extra_env": {"NOTHING": ""}}, ["NOTHING is empty"], alone=True),
    "runner-flag": Refused({"supervisor_runner_extra_env": {"FLAG": True}}, ["FLAG", "'true'"], alone=True),
    "runner-name": Refused({"supervisor_runner_extra_env": {"A B": "x"}}, ["'A B'", "not the name"], alone=True),
    "runner-own": Refused(
        {"supervisor_runner_extra_env": {"TRIGGER_RUN_ID": "x"}}, ["supervisor_runner_extra_env", "TRIGGER_RUN_ID"]
    ),
    "empty": Refused({"supervisor_extra_env": {"NOTHING": ""}}, ["NOTHING is empty"], alone=True),
    "form": Refused(
        {"supervisor_extra_env": {"KUBERNETES_MEMORY_REQUEST_RATIO": "lots"}},
        ["supervisor_extra_env.KUBERNETES_MEMORY_REQUEST_RATIO", "0 to 1"],
    ),
    "taken": Refused(
        {"supervisor_extra_env": {"METRICS_PORT": "9091"}}, ["METRICS_PORT", "Set supervisor_metrics_port instead"]
    ),
    "shared": Refused({"supervisor_extra_env": {"DOCKER_REGISTRY_URL": "x"}}, ["Set trigger_registry_host instead"]),
    "autoremove": Refused(
        {"supervisor_extra_env": {"DOCKER_AUTOREMOVE_EXITED_CONTAINERS": "0"}},
        ["DOCKER_AUTOREMOVE_EXITED_CONTAINERS", "Set supervisor_runner_autoremove_enabled instead"],
    ),
    "kept-containers": Refused(
        {"supervisor_runner_autoremove_enabled": False},
        [
            "supervisor_runner_autoremove_enabled",
            "production key",
            "blocks the next attempt",
            "supervisor_runner_kept_logs_accepted",
        ],
    ),
    "decided": Refused(
        {"supervisor_extra_env": {"DOCKER_API_VERSION": "1.41"}}, ["DOCKER_API_VERSION", "without a version only"]
    ),
    "secret": Refused(
        {"supervisor_extra_env": {"DOCKER_REGISTRY_PASSWORD": "hidden-value"}},
        ["DOCKER_REGISTRY_PASSWORD", "trigger_secrets.registry_pull_password"],
    ),
    "login": Refused(
        {"supervisor_extra_env": {"DOCKER_REGISTRY_USERNAME": "trigger"}},
        ["DOCKER_REGISTRY_USERNAME", "trigger_registry_pull_username"],
    ),
    "misspelt": Refused(
        {"supervisor_extra_env": {"KUBERNETES_NAMESPACES": "x"}},
        ["KUBERNETES_NAMESPACES; did you mean KUBERNETES_NAMESPACE?", "trigger_extra_names"],
    ),
    "companions": Refused(
        {"trigger_version": "v4.5.12", "supervisor_extra_env": {"WORKLOAD_TOKEN_ENFORCEMENT": "log"}},
        ["supervisor_extra_env.WORKLOAD_TOKEN_ENFORCEMENT", "needs WORKLOAD_TOKEN_SECRET"],
    ),
    "other-platform": Refused(
        {"__trigger_host": {"host": {"architecture": "arm64"}}},
        ["built for linux/amd64,", "runs linux/arm64", "webapp_deploy_image_platform to linux/amd64,linux/arm64"],
        alone=True,
    ),
    "other-emulation": Refused({"supervisor_runner_platform": "linux/arm64/v8"}, ["runs linux/arm64"], alone=True),
    "old-engine": Refused(
        {**NEWER, "__trigger_host": {"host": {"architecture": "amd64", "engine": {"ServerVersion": "20.10.25"}}}},
        ["Docker Engine 20.10.25", "zstd", "Docker Engine 23 or later"],
        alone=True,
    ),
    "old-debian": Refused(
        {
            **NEWER,
            "__trigger_host": {"host": {"architecture": "amd64", "engine": {"ServerVersion": "20.10.24+dfsg1"}}},
        },
        ["Docker Engine 20.10.24+dfsg1", "--compression gzip", "trigger_zstd_layers_enabled to false"],
        alone=True,
    ),
    "several": Refused(
        {"supervisor_metrics_port": 8020, "supervisor_extra_env": {"DEBUG": "1"}},
        ["supervisor_metrics_port", "supervisor_debug_enabled"],
    ),
}

TAKEN: dict[str, dict[str, Any]] = {
    "defaults": {},
    "numbers-as-text": {"supervisor_dequeue_interval_ms": "500", "supervisor_dequeue_scaling_ewma_alpha": "0.5"},
    "ends": {"supervisor_dequeue_scaling_ewma_alpha": 1, "supervisor_dequeue_scaling_damping_factor": 0},
    "runner": {"supervisor_runner_extra_env": {"HTTP_PROXY": "http://proxy.example.com:3128", "LEVEL": 3, "NO": None}},
    "handed-on": {"supervisor_runner_extra_env": {"NODE_EXTRA_CA_CERTS": "/etc/ssl/certs/ca-certificates.crt"}},
    "own": {"supervisor_extra_env": {"KUBERNETES_NAMESPACE": "x"}},
    "newer": {"trigger_version": "v4.2.1", "supervisor_extra_env": {"KUBERNETES_NAMESPACES": "x"}},
    "vouched": {"trigger_extra_names": ["BRAND_NEW"], "supervisor_extra_env": {"BRAND_NEW": "x"}},
    "emulation": {
        "supervisor_runner_platform": "linux/amd64",
        "__trigger_host": {"host": {"architecture": "arm64"}},
    },
    "variant": {"supervisor_runner_platform": "linux/amd64/v3"},
    "old-debian": {
        **NEWER,
        "trigger_zstd_layers_enabled": False,
        "__trigger_host": {"host": {"architecture": "amd64", "engine": {"ServerVersion": "20.10.24+dfsg1"}}},
    },
    "new-engine": {
        **NEWER,
        "__trigger_host": {"host": {"architecture": "amd64", "engine": {"ServerVersion": "26.1.5+dfsg1"}}},
    },
    "old-engine-of-old": {
        "__trigger_host": {"host": {"architecture": "amd64", "engine": {"ServerVersion": "20.10.25"}}}
    },
    "all-images": {"supervisor_allowed_images": []},
    "classic": {"supervisor_proxy_mode": "classic"},
    "kept-containers": {
        "supervisor_runner_autoremove_enabled": False,
        "supervisor_runner_kept_logs_accepted": True,
    },
}


def together() -> dict[str, str]:
    """Row -> its host. Rows share one as long as none hides another: a host costs a second."""
    hosts: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for name, row in REFUSED.items():
        free = (host for host, taken in hosts.items() if not row.alone and not taken & {"*", *row.values})
        found[name] = next(free, f"refused-{name}")
        hosts.setdefault(found[name], set()).update({"*"} if row.alone else row.values)
    return found


HOSTS = together()


@dataclass(frozen=True)
class Outcome:
    """What one run of the checks said about each host."""

    output: str
    messages: dict[str, list[str]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the role's checks once. They only compare, so that no host is connected to."""
    folder = tmp_path_factory.mktemp("checks")
    hosts = {f"taken-{name}": dict(values) for name, values in TAKEN.items()}
    for name, row in REFUSED.items():
        hosts.setdefault(HOSTS[name], {}).update(row.values)
    given = {
        "trigger_origin": "http://localhost:8030",
        "trigger_api_origin": "http://control.example.com:8030",
        "ansible_connection": "local",  # over ssh the names of the example would be refused
        "__trigger_checked": True,  # the checks on the inventory as a whole are others' affair
    }
    inventory = {
        "all": {"vars": given},
        "trigger_control": {"hosts": {"control.example.com": {}}},
        "trigger_workers": {"hosts": hosts},
    }
    role = {
        "name": "Check",
        "ansible.builtin.import_role": {"name": "selfhosted.trigger_dev.supervisor", "tasks_from": "preflight"},
    }
    (folder / "hosts.json").write_text(json.dumps(inventory))
    play = {"name": "Check", "hosts": "trigger_workers", "gather_facts": False, "tasks": [role]}
    done = run_plays(
        folder,
        [play],
        "-i",
        "hosts.json",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_FORKS="4",
        ANSIBLE_CALLBACK_RESULT_FORMAT="json",
        ANSIBLE_INVENTORY_ENABLED="ansible.builtin.yaml",
    )
    output = done.stdout + done.stderr
    messages: dict[str, list[str]] = {}
    for host, text in re.findall(r"^fatal: \[([^\]]+)\]: FAILED! => (\{.*\})$", done.stdout, re.MULTILINE):
        messages.setdefault(host, []).append(" ".join(str(json.loads(text)["msg"]).split()))
    return Outcome(output, messages)


@pytest.mark.parametrize("name", FORMS)
def test_its_row_refuses_it(name: str) -> None:
    message = " ".join(all_problems({"worker.example.com": FORMS[name].values}, ROWS))
    for word in FORMS[name].words:
        assert word in message, message


@pytest.mark.parametrize("name", TAKEN)
def test_its_row_takes_it(name: str) -> None:
    given = {key: value for key, value in TAKEN[name].items() if key in ROWS}
    assert all_problems({"worker.example.com": given}, ROWS) == {}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_one_message(outcome: Outcome, name: str) -> None:
    (message,) = outcome.messages.get(HOSTS[name], ["nothing was refused"])
    for word in REFUSED[name].words:
        assert word in message, message


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_taken(outcome: Outcome, name: str) -> None:
    assert f"taken-{name}" not in outcome.messages
    assert re.search(rf"^taken-{name}\s.*failed=0", outcome.output, re.MULTILINE), outcome.output[-2000:]


def test_no_value_of_a_secret_and_no_traceback_is_shown(outcome: Outcome) -> None:
    assert "hidden-value" not in outcome.output
    assert "Traceback" not in outcome.output


def test_every_row_of_the_environment_tells_who_sets_it(root: Path) -> None:
    folder = root / "roles/supervisor/vars/main"
    rows = yaml.safe_load((folder / "environment.yml").read_text())
    public = yaml.safe_load((root / "roles/supervisor/defaults/main.yml").read_text()).keys()
    public |= yaml.safe_load((root / "roles/trigger/defaults/main.yml").read_text()).keys()
    for name, value in (rows["__supervisor_connections"] | rows["__supervisor_settings"]).items():
        found = set(re.findall(r"\b(?:supervisor|trigger)_[a-z_]+", str(value)))
        assert found & public or name in rows["__supervisor_decided"], name


def test_a_name_that_is_not_known_is_a_warning_with_a_later_release(outcome: Outcome) -> None:
    warnings = re.findall(r"WARNING: [^\n]*", outcome.output)
    assert sum("KUBERNETES_NAMESPACES; did you mean KUBERNETES_NAMESPACE?" in text for text in warnings) == 1


def test_what_does_not_reach_the_code_of_tasks_is_a_warning(outcome: Outcome) -> None:
    """The runner hands on four names; a proxy among its own variables is not seen by tasks."""
    warnings = [text for text in re.findall(r"WARNING: [^\n]*", outcome.output) if "runner_extra_env" in text]
    assert sum("HTTP_PROXY, LEVEL: the runner reads it, the code of tasks does not" in text for text in warnings) == 1
    assert not any("NODE_EXTRA_CA_CERTS" in text or "NO:" in text for text in warnings)


def test_the_document_tells_the_truth_about_each_variable(root: Path) -> None:
    """Every name that the supervisor reads stands in docs/settings.md, with the variables that decide it."""
    text = (root / "docs/settings.md").read_text()
    rows = yaml.safe_load((root / "roles/supervisor/vars/main/environment.yml").read_text())
    public = yaml.safe_load((root / "roles/supervisor/defaults/main.yml").read_text()).keys()
    found: dict[str, set[str]] = {}
    for line in re.findall(r"^\| (`[A-Z].*)$", text, re.MULTILINE):
        names, variables = line.split("|")[:2]
        found |= {key: set(re.findall(r"`([a-z_.]+)`", variables)) for key in re.findall(r"`(\w+)`", names)}
    for name, value in (rows["__supervisor_connections"] | rows["__supervisor_settings"]).items():
        decides = set(re.findall(r"\b(?:supervisor|trigger)_[a-z_]+", str(value))) & public
        assert name in found, name
        assert {each for each in found[name] if each.startswith("supervisor_")} == decides, name
    assert set(rows["__supervisor_decided"]) <= set(found)
    schema = (root / "roles/webapp/files/schema/4.2.tsv").read_text()
    known = set(re.findall(r"^supervisor\t(\w+)\t", schema, re.MULTILINE))
    assert len(known) > 60
    assert sorted(known - set(found)) == []
    assert [name for name in public if f"`{name}`" not in text] == []


def test_what_is_null_is_not_given_to_task_containers(tmp_path: Path) -> None:
    """Null is how an inventory takes away what another part of it has set."""
    (found,) = render_cases(
        tmp_path,
        *("trigger", "supervisor"),
        host="worker1.example.com",
        wanted={"given": "__supervisor_settings.RUNNER_ADDITIONAL_ENV_VARS"},
        cases={"runner": {"trigger_origin": "http://localhost:8030", **TAKEN["runner"]}},
    ).values()
    assert found["given"] == "HTTP_PROXY=http://proxy.example.com:3128,LEVEL=3"
