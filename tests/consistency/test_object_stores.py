# SPDX-License-Identifier: MIT
"""The bundled object stores: which one an installation has, and what the webapp's key is good for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import render_cases, run_plays, variable_files

Projects = dict[str, dict[str, Any]]
KEY, SECRET = """key "of\\us""", """s3-%41@:/?#$HOME&=+{x}"""


def installed(root: Path, folder: Path, compose: str, volumes: tuple[str, ...], engine: bool = True) -> list[str]:
    """Run the script of the role on a host with that Compose file and these volumes; gives the lines that it prints."""
    task = yaml.safe_load((root / "roles/webapp/tasks/installed.yml").read_text())[0]
    script = task["ansible.builtin.command"]["argv"][2].replace('{{ "{{" }}', "{{").replace('{{ "}}" }}', "}}")
    if compose:
        (folder / "compose.yml").write_text(compose)
    known = " ".join(f"{name}) exit 0;;" for name in volumes if engine)
    (folder / "docker").write_text(f'#!/bin/sh\ncase "$3" in {known} esac\nexit 1\n')
    (folder / "docker").chmod(0o755)
    volumes_asked = ["trigger_minio_data", "trigger_postgres_data", "/var/lib/docker"]
    words = ["sh", "-c", script, "sh", "webapp-1", str(folder / "compose.yml"), *volumes_asked, r"seaweedfs\|minio"]
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(words, env={"PATH": path}, check=True, capture_output=True, text=True).stdout.splitlines()


COMPOSE = """services:
  webapp:
    depends_on:
      trigger-{store}: {{condition: service_healthy}}
    image: ghcr.io/triggerdotdev/trigger.dev:v4.2.0

  trigger-{store}:
    image: something

volumes:
  trigger_minio_data:
    name: trigger_minio_data
"""
IMAGE = "ghcr.io/triggerdotdev/trigger.dev:v4.2.0"
SERVICES = {store: ["service webapp", f"service trigger-{store}"] for store in ("minio", "seaweedfs")}


@pytest.mark.parametrize(
    ("compose", "volumes", "found"),
    [
        ("", (), []),
        ("", ("trigger_minio_data",), ["object store minio"]),
        (COMPOSE.format(store="minio"), ("trigger_minio_data",), [IMAGE, "object store minio", *SERVICES["minio"]]),
        (COMPOSE.format(store="minio"), (), [IMAGE, "object store minio", *SERVICES["minio"]]),
        (
            COMPOSE.format(store="seaweedfs"),
            ("trigger_minio_data",),
            [IMAGE, "object store seaweedfs", *SERVICES["seaweedfs"]],
        ),
    ],
)
@pytest.mark.parametrize("engine", [True, False])
def test_what_is_installed(
    root: Path, tmp_path: Path, compose: str, volumes: tuple[str, ...], found: list[str], engine: bool
) -> None:
    """What was deployed last counts, also while the engine is stopped; without it, the volume."""
    if not engine and not compose:
        found = []
    assert installed(root, tmp_path, compose, volumes, engine) == found


def test_the_store_that_is_found_is_kept_and_keys_are_limited(tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = [
        {"installed": {"stdout_lines": []}, "store": "seaweedfs"},
        {"installed": {"stdout_lines": [IMAGE]}, "store": "seaweedfs"},
        {"installed": {"stdout_lines": [IMAGE, "object store minio"]}, "store": "minio"},
        {"installed": {"stdout_lines": ["object store seaweedfs"]}, "store": "seaweedfs"},
        {"installed": {"skipped": True}, "store": "seaweedfs"},
    ]
    play = {
        "name": "Ask the role",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": variable_files("trigger", "webapp"),
        "tasks": [
            {
                "name": "Each case has its store",
                "ansible.builtin.assert": {"that": "webapp_object_store == item.store"},
                "loop": cases,
                "vars": {"__webapp_installed": "{{ item.installed }}"},
            },
            {
                "name": "Behind a gateway the store that runs is asked where it is",
                "ansible.builtin.assert": {"that": "__webapp_bucket_url == 'http://' ~ item.address ~ ':9000'"},
                "loop": [
                    {"seen": "", "address": "trigger-webapp-trigger-seaweedfs-1"},
                    {"seen": "trigger-webapp-trigger-minio-1 10.1.2.3/24\n", "address": "10.1.2.3"},
                    {"seen": "trigger-webapp-trigger-seaweedfs-1 10.1.2.4/24\n", "address": "10.1.2.4"},
                ],
                "vars": {"__webapp_front": {"stdout": "{{ item.seen }}"}, "trigger_gateway_enabled": True},
            },
            {
                "name": "Write what gives the key its rights",
                "ansible.builtin.copy": {
                    "dest": str(tmp_path / "rights.json"),
                    "content": "{{ {'seaweedfs': __webapp_seaweedfs_config,"
                    " 'minio': __webapp_minio_policy, 'script': __webapp_object_stores.minio.script} | to_json }}",
                    "mode": "0600",
                },
                "vars": {"__trigger_secret_values": "{{ given | from_json }}"},
            },
        ],
    }
    given = json.dumps({"object_store_access_key": KEY, "object_store_secret_key": SECRET})
    (tmp_path / "given.json").write_text(json.dumps({"given": given, "ansible_python_interpreter": sys.executable}))
    done = run_plays(tmp_path, [play], "-i", "localhost,", "-e", "@given.json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    rights = json.loads((tmp_path / "rights.json").read_text())
    assert json.loads(rights["seaweedfs"]) == {
        "identities": [
            {
                "name": "webapp",
                "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                "actions": ["Read:packets", "Write:packets", "List:packets"],
            }
        ]
    }
    resources = [resource for row in rights["minio"]["Statement"] for resource in row["Resource"]]
    assert resources == ["arn:aws:s3:::packets", "arn:aws:s3:::packets/*"]
    assert json.dumps(rights["minio"]) in rights["script"]
    assert not any(secret in rights["script"] for secret in (KEY, SECRET))


def test_the_webapp_has_not_the_key_of_root(chosen: Projects, secrets: dict[str, str]) -> None:
    environments = chosen["trigger-webapp"]["environments"]
    root = secrets["object_store_root_password"]
    assert environments["trigger-minio"]["MINIO_ROOT_PASSWORD"] == root
    assert root not in json.dumps(environments["webapp"])
    assert environments["trigger-minio"]["MINIO_ROOT_USER"] != environments["webapp"]["OBJECT_STORE_ACCESS_KEY_ID"]


def test_seaweedfs_tells_nobody_and_listens_with_its_api_alone(projects: Projects) -> None:
    row = projects["trigger-webapp"]["compose"]["services"]["trigger-seaweedfs"]
    options = dict(word.removeprefix("-").partition("=")[::2] for word in row["command"][1:])
    assert options["ip.bind"] == "127.0.0.1"
    assert {name: value for name, value in options.items() if value in ("false", "0")} == {
        "master.telemetry": "false",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
    }
    assert row["networks"] == {"trigger-front": {"aliases": ["trigger-object-store"]}}


ENVIRONMENT = ("BASE_URL", "REGION", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
KEYS = {"object_store_access_key": "given-access", "object_store_secret_key": "given-secret"}
OUTSIDE = {
    "webapp_object_store": "external",
    "trigger_object_store_origin": "https://s3.example.com",
    "trigger_secrets": KEYS,
}
ROLE = {
    "webapp_object_store_role_enabled": True,
    "webapp_object_store_bucket": "mine",
    "webapp_object_store_region": "r",
}


def test_keys_or_a_role(tmp_path: Path) -> None:
    """With keys the webapp passes over the name of the bucket; with a role it needs one, and no key."""
    settings: dict[str, dict[str, Any]] = {
        "bundled": {},
        "keys": OUTSIDE,
        "role": OUTSIDE | ROLE,
        "bucket": OUTSIDE | {"webapp_object_store_bucket": "mine"},
        "nothing": OUTSIDE | {"trigger_secrets": {}},
    }
    wanted = {name.lower(): f"__webapp_environments.webapp.OBJECT_STORE_{name}" for name in ENVIRONMENT}
    rendered = render_cases(
        tmp_path,
        "trigger",
        "webapp",
        host="control.example.com",
        wanted=wanted
        | {
            "tried": "__webapp_object_store_bucket",
            "problems": "__webapp_problems",
            "asked": "__webapp_external_services",
        },
        cases={
            name: {
                "trigger_origin": "http://control.example.com:8030",
                "trigger_version": "v4.5.12",
                "__trigger_secret_values": {name: f"generated {name}" for name in KEYS},
                **given,
            }
            for name, given in settings.items()
        },
    )
    assert rendered["bundled"]["access_key_id"] == "generated object_store_access_key"
    assert rendered["keys"] | {"problems": ""} == {
        "base_url": "https://s3.example.com",
        "region": "",
        "bucket": None,
        "access_key_id": "given-access",
        "secret_access_key": "given-secret",
        "tried": "packets",
        "problems": "",
        "asked": ["object store"],
    }
    assert rendered["bundled"]["asked"] == [], "nothing is tried where everything is bundled"
    role = rendered["role"]
    assert (role["bucket"], role["access_key_id"], role["secret_access_key"], role["tried"]) == ("mine", "", "", "mine")
    assert [rendered[name]["problems"] for name in ("bundled", "keys", "role")] == [[], [], []]
    assert "so webapp_object_store_role_enabled must be set" in rendered["bucket"]["problems"][0]
    assert "trigger_secrets.object_store_access_key" in rendered["nothing"]["problems"][0]


def test_what_is_stored_of_an_installation_is_computed_where_it_is_read(root: Path) -> None:
    """Facts win over the variables of roles: one that is set elsewhere, or from itself, would stay after a restore."""
    stored = {"__webapp_bundled": "__webapp_bundled_now", "__webapp_memory_mib": "__webapp_memory_now_mib"}
    tasks = yaml.safe_load((root / "roles/webapp/tasks/installed.yml").read_text())
    names = [task.get("register") for task in tasks]
    facts = {}
    for number, task in enumerate(tasks):
        for name, value in task.get("ansible.builtin.set_fact", {}).items():
            assert number > names.index("__webapp_installed")
            facts[name] = value
    assert facts == {name: f"{{{{ {source} }}}}" for name, source in stored.items()}
    for path in [*root.glob("roles/*/tasks/*.yml"), *root.glob("playbooks/**/*.yml")]:
        if path.name != "installed.yml":
            assert not re.search(rf"^\s*({'|'.join(stored)}):", path.read_text(), re.MULTILINE), path
