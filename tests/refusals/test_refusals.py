# SPDX-License-Identifier: MIT
"""Bad input ends in one clear message, before anything changes: the table refusals.yml, tried with the real playbook.

The hosts only answer (connection/answering.py): nothing but the input decides, and a change would be noticed.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from verification.deployment import Play

from testbed.common import USUAL_OUTPUT

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTROL = "control.example.com"
REFUSALS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "refusals.yml").read_text())
GOOD = {"trigger_origin": "http://localhost:8030", "trigger_api_origin": f"http://{CONTROL}:8030"}
CHANGE = "the answering host was to be changed"
KEYS = {"values", "control", "workers", "registry", "words", "unseen"}
PLAYBOOKS = ROOT / "playbooks"
CHECKS = 4
# Hosts that only answer, and output that can be read.
ANSIBLE = {
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    **USUAL_OUTPUT,
}


def plays_of(path: Path) -> list[dict[str, Any]]:
    """Read a playbook with those that it imports."""
    found: list[dict[str, Any]] = []
    for row in yaml.safe_load(path.read_text()):
        imported = row.get("ansible.builtin.import_playbook")
        found += plays_of(path.parent / imported) if imported else [row]
    return found


SITE = plays_of(PLAYBOOKS / "site.yml")


def inventory(folder: Path, case: dict[str, Any]) -> Path:
    """Write the inventory of a row, with hosts that only answer."""
    groups = {
        "trigger_control": case.get("control", {CONTROL: {}}),
        "trigger_workers": case.get("workers", {CONTROL: {}}),
        "trigger_registry": case.get("registry", {}),
        "trigger_developers": case.get("developers", {}),
    }
    variables = {
        "ansible_connection": "answering",
        "ansible_python_interpreter": "/usr/bin/python3",
        **GOOD,
        **case.get("values", {}),
    }
    written = {"all": {"vars": variables, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}}
    (folder / "hosts.json").write_text(json.dumps(written))
    return folder


@functools.cache
def player() -> subprocess.Popen[str]:
    """Start what runs one playbook after the other without loading Ansible anew."""
    started = subprocess.Popen(
        [sys.executable, HERE / "play_all.py"],
        cwd=ROOT,
        env=os.environ | ANSIBLE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # The end of its input ends it.
    atexit.register(started.communicate)
    return started


def run_playbook(folder: Path, playbook: str, options: list[str]) -> Play:
    """Run a playbook of the collection with the inventory in a folder."""
    running = player()
    assert running.stdin
    assert running.stdout
    running.stdin.write(json.dumps([str(folder), *options, f"selfhosted.trigger_dev.{playbook}"]) + "\n")
    running.stdin.flush()
    assert running.stdout.readline() == "over\n"
    return played(folder)


def played(folder: Path) -> Play:
    return Play(int((folder / "code").read_text()), (folder / "output").read_text())


def play(plays: list[dict[str, Any]], cases: dict[str, dict[str, Any]], scratch: Path) -> dict[str, Play]:
    """Run these plays once for every row."""
    playbook = scratch / "playbook.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    folders = {name: scratch / name for name in cases}
    for name, folder in folders.items():
        folder.mkdir()
        inventory(folder, cases[name])
    subprocess.run(
        [sys.executable, HERE / "play_all.py", playbook, *folders.values()],
        cwd=ROOT,
        env=os.environ | ANSIBLE,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return {name: played(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Play]:
    """Every row that is asked for, with the plays that check: what they refuse, the plays behind them do not see."""
    chosen = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    rows = {name: case for name, case in REFUSALS.items() if name in chosen}
    return play(SITE[:CHECKS], rows, tmp_path_factory.mktemp("refusals"))


DIGEST = f"sha256:{'0123456789abcdef' * 4}"
ACCEPTED: dict[str, dict[str, Any]] = {
    "good": {},
    "own-builds": {
        "trigger_origin": "http://127.0.0.1:8030",
        "webapp_image": "registry.example.com/me/trigger.dev:main",
        "supervisor_image": f"registry.example.com/me/supervisor@{DIGEST}",
        "registry_image": "registry.example.com/me/registry:20260131",
        "registry_release": "3",
        "registry_extra_env": {
            "REGISTRY_LOG_LEVEL": "debug",
            "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR": "inmemory",
            "OTEL_TRACES_EXPORTER": "otlp",
            "AWS_CA_BUNDLE": "/etc/ssl/ca.pem",
            "HTTPS_PROXY": "http://proxy.example.com:3128",
            "OWN_OPTION": "1",
        },
        "trigger_extra_names": ["OWN_OPTION"],
    },
    # Each is near to something that is refused.
    "unusual-texts": {
        "trigger_image_mirror": "mirror:5000/hub",
        "docker_engine_key_url": "https://mirror.acme.org/docker/linux",
        "webapp_admin_emails": r"^.+@acme\.org$",
        "webapp_smtp_host": "mail.acme.org",
        "webapp_email_transport": "smtp",
        "webapp_email_from": "trigger@acme.org",
        "webapp_smtp_username": "me",
        "webapp_smtp_password": "$(a <b> '${c}",
        "registry_users": [{"name": "anna", "password": "$2y$ is none"}],
        "webapp_otel_trace_exporter_url": "http://otel.acme.org:4318/otlp/v1/traces",
        "registry_client_user": "anna@corp.acme.org",
        "backup_restore_time": "2026-01-31T12:00:00.5Z",
        "gateway_image": "registry.acme.org/caddy-dns:2.10.2-alpine",
    },
    "releases-with-a-digest": {
        "webapp_image": f"mirror.example.com:5000/triggerdotdev/trigger.dev:v4.2.0@{DIGEST}",
        "supervisor_image": f"triggerdotdev/supervisor:v4.2.0@{DIGEST}",
        "webapp_extra_env": {
            "webapp": {"NODE_ENV": "production"},
            "trigger-postgres": {
                "POSTGRES_HOST_AUTH_METHOD": "scram-sha-256",
                "POSTGRES_INITDB_ARGS": "--data-checksums",
            },
        },
    },
    "postgres-with-an-extension": {
        "webapp_postgres_image": "docker.io/pgvector/pgvector:0.8.0-pg16-trixie",
        "answering_otherwise": {
            "installed": "postgres 16\nservice webapp\nservice trigger-redis",
            "entries": ["/opt/trigger/lost+found"],
        },
        "webapp_store_change_enabled": True,
    },
    "postgres-of-an-own-build": {
        "webapp_postgres_image": "registry.example.com/me/postgres:own-build",
        "webapp_postgres_release": 17,
        "answering_otherwise": {"entries": ["/opt/trigger/notes.txt", "/opt/trigger/webapp"]},
    },
    "kept-for-later": {
        "webapp_alert_email_transport": "",
        "webapp_alert_smtp_host": "mail.acme.org",
        "backup_repository": "s3:https://s3.acme.org/bucket",
        "docker_engine_extra_config": {"dns": ["10.0.0.53"], "registry-mirrors": ["https://mirror.acme.org"]},
        "monitoring_enabled": True,
        "monitoring_extra_rules": [{"name": "mine", "rules": []}, {"name": "other", "rules": []}],
        "monitoring_extra_scrape_configs": [
            {"job_name": "mine", "scrape_interval": "30s", "static_configs": [{"targets": ["10.0.0.5:9100"]}]},
            {"job_name": "found", "dns_sd_configs": [{"names": ["nodes.acme.org"]}]},
        ],
    },
    "one-port-at-two-addresses": {
        "monitoring_enabled": True,
        "trigger_bind_address": "10.0.0.1",
        "monitoring_grafana_port": 8030,
        "monitoring_prometheus_port": 5000,
    },
    # A proxy of the operator's on the control host, for everything.
    "on-the-loopback": {
        "trigger_origin": "https://trigger.example.com",
        "trigger_api_origin": "https://trigger.example.com",
        "trigger_gateway_enabled": False,
        "trigger_bind_address": "127.0.0.1",
        "trigger_object_store_origin": "https://objects.example.com",
        "trigger_registry_host": "registry.example.com",
    },
}


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED)
def test_good_input_reaches_the_first_change(tmp_path: Path, values: dict[str, Any]) -> None:
    """Otherwise something else than the input is refused below; and a change would come behind the plays that check."""
    # What other playbooks write on this machine is not the affair of this one.
    elsewhere = {"status_report_file": "/nowhere/report.html", "diagnose_directory": "/etc/passwd/diagnosis"}
    done = play(SITE[: CHECKS + 2], {"good": {"values": elsewhere | values}}, tmp_path)["good"]
    assert [row["name"].startswith("Check ") for row in SITE] == [True] * CHECKS + [False] * (len(SITE) - CHECKS)
    assert CHANGE in done.message, done.ending()
    lock, first = (done.output.find(f"PLAY [{SITE[CHECKS + number]['name']}]") for number in (0, 1))
    assert 0 < lock < first, done.ending()


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_refused(plays: dict[str, Play], name: str) -> None:
    case, done = REFUSALS[name], plays[name]
    assert set(case) <= KEYS
    assert done.code != 0, "the run went through"
    assert len(done.errors) == 1, done.ending()
    assert [word for word in case["words"] if word not in done.message] == [], done.ending()
    for text in (CHANGE, "censored", "Traceback", "Unexpected", "object has no attribute", "is undefined"):
        assert text not in done.output, done.ending()
    assert done.changes == []
    if "unseen" in case:
        assert case["unseen"] not in done.output


def test_the_table_is_as_long_as_promised() -> None:
    assert len(REFUSALS) >= 60
