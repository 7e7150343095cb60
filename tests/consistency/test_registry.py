# SPDX-License-Identifier: MIT
"""What the roles registry and registry_client render: storage, releases, garbage collection, machines of developers."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plays import run_plays

Projects = dict[str, dict[str, Any]]

AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
S3 = {"registry_storage": "s3", "registry_s3_bucket": "images"}
# Settings -> what is made of them.
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "two": {"registry_image": "docker.io/library/registry:2"},
    "three": {"registry_image": "docker.io/library/registry:3"},
    "three-by-v": {"registry_image": "registry:v3.0.0"},
    "three-and-digest": {"registry_image": "mirror.example.com:5000/library/registry:3.0.0@sha256:22"},
    "newer": {"registry_image": "registry:4.1"},
    "digest": {"registry_image": "mirror.example.com:5000/library/registry@sha256:22"},
    "digest-of-two": {"registry_image": "registry@sha256:33", "registry_release": "2"},
    "no-tag": {"registry_image": "mirror.example.com:5000/registry"},
    "floating": {"registry_image": "registry:latest"},
    "older": {"registry_image": "registry:1.0"},
    "untagged": {"registry_image": "registry:3", "registry_gc_delete_untagged_enabled": True},
    "bucket": S3,
    "public": {"trigger_origin": "https://trigger.example.com", "trigger_version": "latest"},
    "private": {"trigger_origin": "https://trigger.example.com", "gateway_tls": "files", "given_authority": True},
    "internal": {
        "trigger_origin": "https://trigger.example.com",
        "gateway_tls": "internal",
        "trigger_private_address": "10.0.0.10",
    },
    "somebody-elses": {"registry_enabled": False, "trigger_registry_host": "ghcr.io", "given_authority": True}
    | {"trigger_origin": "https://trigger.example.com"},
    "worker": {"__registry_client_is_worker": True},
    "worker-elsewhere": {"registry_enabled": False, "__registry_client_is_worker": True},
    "worker-elsewhere-with-a-login": {
        "registry_enabled": False,
        "__registry_client_is_worker": True,
        "trigger_secrets": {"registry_password": "pushes", "registry_pull_password": "pulls"},
    },
    "worker-with-a-given-login": {
        "__registry_client_is_worker": True,
        "registry_client_username": "anna",
        "registry_client_password": "given",
    },
    "logged-in": {"registry_client_login_enabled": True, "registry_client_user": "anna"},
}
# The registry in references of images, and other settings -> whether engines are told that it speaks plain http.
PLAIN: dict[str, tuple[dict[str, Any], bool]] = {
    "plain-by-itself": ({}, True),
    "plain-by-another-name": ({"trigger_registry_host": "10.0.0.5:5000"}, True),
    "plain-at-another-port": ({"trigger_registry_port": 5001}, True),
    "tls-of-somebody-else": ({"registry_enabled": False, "trigger_registry_host": "registry.example.org"}, False),
    "tls-of-somebody-else-at-the-port": (
        {"registry_enabled": False, "trigger_registry_host": "registry.example.org:5000"},
        False,
    ),
    "tls-of-a-proxy": ({"trigger_registry_host": "registry5000"}, False),
    "tls-of-a-proxy-at-a-port": ({"trigger_registry_host": "registry.example.com:8443"}, False),
    "tls-of-the-gateway": ({"trigger_origin": "https://trigger.example.com"}, False),
    "plain-because-it-is-said": (
        {
            "registry_enabled": False,
            "trigger_registry_host": "registry.example.org",
            "trigger_registry_insecure_enabled": True,
        },
        True,
    ),
}
CASES |= {name: given for name, (given, _) in PLAIN.items()}
RELEASES = {
    "default": 2,
    "two": 2,
    "three": 3,
    "three-by-v": 3,
    "three-and-digest": 3,
    "newer": 3,
    "digest": None,
    "digest-of-two": 2,
    "no-tag": None,
    "floating": None,
    "older": None,
}
CONFIGS = {2: "/etc/docker/registry/config.yml", 3: "/etc/distribution/config.yml"}


@pytest.fixture(scope="module")
def rendered(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each case comes to, from one run: a case is a host."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "ca.pem").write_text(AUTHORITY)
    sources = []
    for name in ("trigger", "registry", "registry_client"):
        sources.append(root / "roles" / name / "defaults/main.yml")
        sources += sorted((root / "roles" / name / "vars").rglob("*.yml"))
    # Defaults of roles would win over the inventory's variables as files of a play do.
    values = {name: text for path in sources for name, text in yaml.safe_load(path.read_text()).items()}
    hosts = {}
    for name, given in CASES.items():
        extra = {key: value for key, value in given.items() if key != "given_authority"}
        ca = {"gateway_ca_file": str(folder / "ca.pem")} if given.get("given_authority") else {}
        hosts[name] = {"trigger_origin": "http://localhost:8030"} | extra | ca
    inventory = {
        "all": {"vars": values | {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
        "trigger_control": {"hosts": {"default": {}}},
        "cases": {"hosts": hosts},
    }
    (folder / "hosts.json").write_text(json.dumps(inventory))
    template = root / "roles/registry_client/templates/buildkitd.toml.j2"
    content = {
        "series": "{{ __registry_series }}",
        "command": "{{ __registry_gc_command if __registry_series else [] }}",
        "environment": "{{ __registry_environments['trigger-registry'] }}",
        "definition": "{{ __registry_definition }}",
        "authority": "{{ __registry_client_ca }}",
        "special": "{{ __registry_client_special }}",
        "insecure": "{{ trigger_registry_insecure_enabled }}",
        "unneeded": "{{ __registry_client_unneeded }}",
        "advice": "{{ __registry_client_advice }}",
        "login": "{{ [__registry_client_name, __registry_client_secret_name] }}",
        "buildkit": f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}",
    }
    task = {
        "name": "Render",
        "ansible.builtin.copy": {
            "dest": f"{folder}/{{{{ inventory_hostname }}}}.out",
            "content": "{{ rendered | to_json }}",
            "mode": "0600",
        },
        "vars": {"rendered": content},
    }
    play = {"name": "Render", "hosts": "cases", "gather_facts": False, "tasks": [task]}
    done = run_plays(folder, [play], "-i", "hosts.json", ANSIBLE_INVENTORY_ENABLED="ansible.builtin.yaml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name: json.loads((folder / f"{name}.out").read_text()) for name in CASES}


@pytest.mark.parametrize("name", PLAIN)
def test_only_a_registry_that_speaks_plain_http_is_called_so(rendered: dict[str, Any], name: str) -> None:
    """Engines would send the login of an external one without encryption."""
    assert rendered[name]["insecure"] is PLAIN[name][1]


@pytest.mark.parametrize("name", RELEASES)
def test_the_release_is_that_of_the_image(rendered: dict[str, Any], name: str) -> None:
    assert rendered[name]["series"].get("release") == RELEASES[name]


@pytest.mark.parametrize("name", [name for name, release in RELEASES.items() if release])
def test_garbage_is_collected_with_the_configuration_of_the_release(rendered: dict[str, Any], name: str) -> None:
    command = rendered[name]["command"]
    assert command[command.index("--config") + 1] == CONFIGS[RELEASES[name] or 0]
    assert command[command.index("--volume") + 1] == "trigger_registry_data"
    assert "--delete-untagged" not in command


def test_untagged_images_go_where_that_is_asked_for(rendered: dict[str, Any]) -> None:
    assert "--delete-untagged" in rendered["untagged"]["command"]


def test_no_volume_is_measured_where_images_are_in_a_bucket(rendered: dict[str, Any]) -> None:
    assert "--volume" not in rendered["bucket"]["command"]
    assert rendered["bucket"]["definition"]["volumes"] == {}


def test_a_bucket_of_aws_is_asked_by_its_name_and_with_the_rights_of_the_machine(rendered: dict[str, Any]) -> None:
    given = rendered["bucket"]["environment"]
    assert given["REGISTRY_STORAGE_S3_FORCEPATHSTYLE"] == "false"
    assert not {"REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_REGIONENDPOINT"} & set(given)


def test_behind_the_gateway_it_publishes_nothing(rendered: dict[str, Any]) -> None:
    ports = {name: rendered[name]["definition"]["services"]["trigger-registry"]["ports"] for name in CASES}
    assert ports["default"] == ["0.0.0.0:5000:5000"]
    assert ports["private"] == []


def test_builders_know_how_to_speak_to_the_registry(rendered: dict[str, Any]) -> None:
    rows = {name: tomllib.loads(rendered[name]["buildkit"])["registry"] for name in ("default", "private")}
    assert rows["default"] == {"localhost:5000": {"http": True}}
    assert rows["private"] == {"registry.trigger.example.com": {"ca": ["/etc/trigger/ca.pem"]}}


@pytest.mark.parametrize(
    ("name", "login"),
    [
        ("default", ["trigger", "registry_password"]),
        ("worker", ["trigger-pull", "registry_pull_password"]),
        ("worker-elsewhere", ["trigger", "registry_password"]),
        ("worker-elsewhere-with-a-login", ["trigger-pull", "registry_pull_password"]),
        ("worker-with-a-given-login", ["anna", "registry_password"]),
    ],
)
def test_workers_try_a_login_that_may_pull_only(rendered: dict[str, Any], name: str, login: list[str]) -> None:
    assert rendered[name]["login"] == login


def test_with_public_certificates_nothing_but_a_login_is_needed(rendered: dict[str, Any]) -> None:
    public = rendered["public"]
    assert public["authority"] == ""
    assert public["special"] is False
    assert public["unneeded"] == ["/etc/trigger/ca.pem", "/etc/trigger/buildkitd.toml"]
    assert public["advice"] == [
        "docker login --username trigger registry.trigger.example.com",
        "export TRIGGER_API_URL=https://trigger.example.com",
        "export TRIGGER_ACCESS_TOKEN=...",
        "npx trigger.dev@latest deploy",
    ]


def test_a_private_authority_goes_to_docker_buildkit_and_node(rendered: dict[str, Any]) -> None:
    private = rendered["private"]
    assert private["authority"].strip() == AUTHORITY
    assert private["unneeded"] == []
    assert any("--config /etc/trigger/buildkitd.toml" in line for line in private["advice"])
    assert "export NODE_EXTRA_CA_CERTS=/etc/trigger/ca.pem" in private["advice"]


def test_a_token_goes_over_https_where_tasks_use_the_private_address(rendered: dict[str, Any]) -> None:
    assert "export TRIGGER_API_URL=https://trigger.example.com" in rendered["internal"]["advice"]


def test_a_registry_of_somebody_else_does_not_get_our_authority(rendered: dict[str, Any]) -> None:
    assert rendered["somebody-elses"]["authority"] == ""


def test_who_is_logged_in_is_not_told_to_log_in(rendered: dict[str, Any]) -> None:
    assert not any("docker login" in line for line in rendered["logged-in"]["advice"])
    assert "npx trigger.dev@4.2.0 deploy" in rendered["logged-in"]["advice"]


def test_values_of_s3_come_through_the_registrys_yaml_unchanged(outside: Projects) -> None:
    given = outside["trigger-registry"]["environments"]["trigger-registry"]
    wanted = {
        "REGISTRY_STORAGE_S3_BUCKET": "trigger-images",
        "REGISTRY_STORAGE_S3_REGION": "eu-central-1",
        "REGISTRY_STORAGE_S3_REGIONENDPOINT": "https://s3.example.com:9000",
        "REGISTRY_STORAGE_S3_ACCESSKEY": "0123456",
        "REGISTRY_STORAGE_S3_ROOTDIRECTORY": "images/trigger",
    }
    assert {name: yaml.safe_load(given[name]) for name in wanted} == wanted
    secret = yaml.safe_load(given["REGISTRY_STORAGE_S3_SECRETKEY"])
    assert secret.startswith("* registry_s3_secret_key # p@/ss?#w%o$r")
    assert given["REGISTRY_STORAGE"] == "s3"
    assert given["REGISTRY_STORAGE_S3_FORCEPATHSTYLE"] == "true"
    assert given["REGISTRY_STORAGE_REDIRECT_DISABLE"] == "true"


def test_with_a_bucket_there_is_no_volume(outside: Projects) -> None:
    project = outside["trigger-registry"]["compose"]
    assert not project.get("volumes")
    assert project["services"]["trigger-registry"]["volumes"] == ["/opt/trigger/registry/auth:/auth:ro"]


def test_no_secret_of_the_registry_is_in_its_compose_file(outside: Projects) -> None:
    text = outside["trigger-registry"]["text"]
    assert "registry_s3_secret_key" not in text
    assert "anna" not in text
    assert "0123456" not in text


def test_what_makes_it_read_only_is_one_value(root: Path) -> None:
    """2.8 ends at start with REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED (measured)."""
    files = yaml.safe_load((root / "roles/registry/vars/main/garbage.yml").read_text())["__registry_gc_files"]
    (content,) = (row["content"] for row in files if row["path"] == "read-only.yml")
    given = yaml.safe_load(content)["services"]["trigger-registry"]["environment"]
    assert {name: json.loads(value) for name, value in given.items()} == {
        "REGISTRY_STORAGE_MAINTENANCE_READONLY": {"enabled": True}
    }
