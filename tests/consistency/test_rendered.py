# SPDX-License-Identifier: MIT
"""What the roles render on their defaults, held against what the genuine programs and images can take."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.environment_problems import parse_schema, requirement
from verification import expected

from tests.plays import render_cases
from tests.schemas import SCHEMAS

Projects = dict[str, dict[str, Any]]
Row = tuple[str, str, dict[str, Any]]

HERE = Path(__file__).parent
# The tests do not read the rows of services, so that they notice a wrong one. What each has to be stands in one place,
# for these and for hosts.
DESIGNED = [row for group in (expected.CONTROL_GROUP, expected.WORKERS_GROUP) for row in expected.CONTAINERS[group]]
MEMBERS = {
    network: {row.service for row in DESIGNED if network in row.networks}
    for network in frozenset().union(*(row.networks for row in DESIGNED))
}
INTERNAL = expected.INTERNAL_NETWORKS
PUBLISHED = {row.service: str(*row.published) for row in DESIGNED if row.published}
# Everything else runs as a user of its own. The registry's volume belongs to root in its image.
ROOT_USERS = {"trigger-registry"}
VOLUMES = expected.VOLUMES[expected.CONTROL_GROUP]
# What the webapp waits for.
DATA_SERVICES = {row.service for row in DESIGNED if row.project == "trigger-webapp"} - {"webapp"}
# What the host of the fixture has.
HOST_CPUS, HOST_MEMORY_MIB = 2, 4096


def services(projects: Projects) -> Iterator[Row]:
    """Give project, service and row of every service."""
    for project, rendered in projects.items():
        for name, row in rendered["compose"]["services"].items():
            yield project, name, row


def environment(projects: Projects) -> Iterator[tuple[str, str, str]]:
    """Give service, name and value of every variable that reaches a container; what is null or empty is left out."""
    meaningful = yaml.safe_load((HERE.parents[1] / "roles/webapp/vars/main/environment.yml").read_text())
    for project, service, row in services(projects):
        given = projects[project]["environments"].get(service, {}) | row.get("environment", {})
        for name, value in given.items():
            if value is not None and (value != "" or name in meaningful["__webapp_meaningful_when_empty"]):
                yield service, name, str(value)


def encodings(value: str) -> set[str]:
    """Every way in which a text could carry a secret."""
    whole = value.encode()
    aligned = (base64.b64encode(b"x" * shift + whole).decode()[4 if shift else 0 : -4] for shift in range(3))
    return {value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], value.replace("$", "$$"), *aligned}


def test_every_service_is_there(projects: Projects) -> None:
    assert {name for _, name, _ in services(projects)} == set().union(*MEMBERS.values())


def test_images_are_those_that_the_testbed_builds(projects: Projects, root: Path) -> None:
    rows = yaml.safe_load((root / "testbed/images/images.yml").read_text())["images"]
    built = {row["reference"] for row in rows if "archive" in row}
    assert {row["image"] for _, _, row in services(projects)} <= built


def test_images_are_pinned(projects: Projects) -> None:
    for _, name, row in services(projects):
        tag = row["image"].rpartition("/")[2].partition(":")[2]
        assert re.search(r"[0-9]+[.-][0-9]+", tag), f"{name}: {row['image']} floats"


def test_environment_is_known_and_has_the_form_that_works(projects: Projects, root: Path) -> None:
    known = parse_schema(SCHEMAS["4.2"])
    seen = list(environment(projects))
    assert {"webapp", "supervisor", "electric", "trigger-registry"} <= {service for service, _, _ in seen}
    for service, name, value in seen:
        assert name in known[service], f"{service} reads no variable {name}"
        # The secrets of the fixture are full of special characters; where a program takes a URL they must be encoded.
        wanted = requirement(known[service][name], value)
        assert not wanted, f"{service}: {name}={value!r} is not {wanted}"


def test_every_variable_that_may_be_rendered_is_known_to_a_version(projects: Projects, root: Path) -> None:
    """Also those that are left out on the defaults, or belong to a newer version."""
    schemas = [parse_schema(text) for text in SCHEMAS.values()]
    for rendered in projects.values():
        for service, row in rendered["environments"].items():
            known = set().union(*(schema[service] for schema in schemas))
            assert set(row) <= known, f"{service}: {set(row) - known}"


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ("webapp", "TRIGGER_BOOTSTRAP_ENABLED", "1"),
        ("webapp", "RUN_REPLICATION_ENABLED", "1"),
        ("webapp", "REDIS_TLS_DISABLED", "true"),
        ("webapp", "INTERNAL_OTEL_TRACE_LOGGING_ENABLED", "0"),
        ("electric", "ELECTRIC_INSECURE", "true"),
    ],
)
def test_switches_stand_as_the_programs_need_them(projects: Projects, service: str, name: str, value: str) -> None:
    assert [found for at, key, found in environment(projects) if (at, key) == (service, name)] == [value]


@pytest.mark.parametrize("name", ["DATABASE_URL", "DIRECT_URL"])
def test_the_tables_are_in_the_schema_that_upstream_expects(projects: Projects, name: str) -> None:
    (url,) = (value for service, found, value in environment(projects) if (service, found) == ("webapp", name))
    assert parse_qs(urlsplit(url).query)["schema"] == ["public"]


def test_all_secrets_are_used_and_none_is_in_a_compose_file(projects: Projects, secrets: dict[str, str]) -> None:
    environments = "\n".join(value for _, _, value in environment(projects))
    folder = HERE.parents[1] / "roles"
    holders = yaml.safe_load((folder / "webapp/vars/main/holders.yml").read_text())["__webapp_secret_holders"]
    held = {secret for _, service, _ in services(projects) for secret in holders.get(service, ())}
    # Of services that are not deployed by default. Other roles write a hash of it, or a file.
    absent = {secret for names in holders.values() for secret in names} - held
    others = [
        path for role in ("backup", "gateway", "monitoring", "registry") for path in folder.glob(f"{role}/*/**/*.yml")
    ]
    elsewhere = "\n".join(path.read_text() for path in others)
    for name, value in secrets.items():
        forms = encodings(value)
        reached = any(form in environments for form in forms)
        assert reached or name in absent or re.search(rf"\b{name}\b", elsewhere), f"{name} reaches no program"
        for project, rendered in projects.items():
            assert not [form for form in forms if form in rendered["text"]], (
                f"{name} is in the Compose file of {project}"
            )


@pytest.mark.parametrize(
    ("service", "name", "secret"),
    [
        ("webapp", "MANAGED_WORKER_SECRET", "managed_worker_secret"),
        ("supervisor", "MANAGED_WORKER_SECRET", "managed_worker_secret"),
        ("supervisor", "TRIGGER_WORKER_TOKEN", "worker_token"),
        ("supervisor", "DOCKER_REGISTRY_PASSWORD", "registry_pull_password"),
        ("webapp", "REDIS_PASSWORD", "redis_password"),
        ("trigger-redis", "REDISCLI_AUTH", "redis_password"),
        ("trigger-postgres", "POSTGRES_PASSWORD", "postgres_password"),
        ("trigger-clickhouse", "CLICKHOUSE_PASSWORD", "clickhouse_password"),
        ("webapp", "OBJECT_STORE_SECRET_ACCESS_KEY", "object_store_secret_key"),
        ("webapp", "ENCRYPTION_KEY", "encryption_key"),
    ],
)
def test_both_ends_get_the_same_secret(
    projects: Projects, secrets: dict[str, str], service: str, name: str, secret: str
) -> None:
    assert [value for at, found, value in environment(projects) if (at, found) == (service, name)] == [secrets[secret]]


def test_services_have_no_right_that_they_need_not(projects: Projects) -> None:
    for _, name, row in services(projects):
        assert (row.get("sysctls") == {"net.ipv4.ip_forward": "0"}) == ("trigger-runner" in row["networks"]), name
        assert row["cap_drop"] == ["ALL"], name
        assert row["security_opt"] == ["no-new-privileges:true"], name
        assert not set(row) & {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "userns_mode"}, name
        user = str(row.get("user", "image"))
        assert (user.partition(":")[0] in ("0", "root")) == (name in ROOT_USERS), f"{name} runs as {user}"


def test_services_are_bounded(projects: Projects) -> None:
    """A process that forks without end stays inside its container, and no memory above the limit comes from swap."""
    for _, name, row in services(projects):
        assert 0 < row["pids_limit"] <= 4096, name
        assert row["memswap_limit"] == row["mem_limit"], name


def test_root_file_systems_are_read_only_where_the_genuine_image_bears_it(projects: Projects) -> None:
    """The others write into their image's folders; docs/security.md says which and why."""
    writable = {name for _, name, row in services(projects) if not row.get("read_only")}
    assert writable == {"webapp", "trigger-clickhouse", "electric", "supervisor"}


def test_services_come_back_and_do_not_fill_the_disk(projects: Projects) -> None:
    for _, name, row in services(projects):
        assert row["restart"] == "unless-stopped", name
        assert set(row["logging"]["options"]) == {"max-size", "max-file"}, name


def test_everything_carries_the_label(projects: Projects) -> None:
    for project, rendered in projects.items():
        role = project.removeprefix("trigger-")
        for kind in ("services", "networks", "volumes"):
            for name, row in rendered["compose"].get(kind, {}).items():
                assert row["labels"]["dev.trigger.ansible/role"] == role, f"{kind} {name}"


def test_limits_are_clamped_to_the_host(projects: Projects) -> None:
    for _, name, row in services(projects):
        assert 0 < row["cpus"] <= HOST_CPUS, name
        assert 0 < int(row["mem_limit"].removesuffix("m")) <= HOST_MEMORY_MIB, name


def test_the_heap_of_the_webapp_ends_before_its_memory(projects: Projects) -> None:
    heap = projects["trigger-webapp"]["environments"]["webapp"]["NODE_MAX_OLD_SPACE_SIZE"]
    limit = projects["trigger-webapp"]["compose"]["services"]["webapp"]["mem_limit"].removesuffix("m")
    assert int(heap) == int(limit) * 8 // 10


def test_networks_hold_exactly_their_members(projects: Projects) -> None:
    found: dict[str, set[str]] = {}
    for _, name, row in services(projects):
        for network in row["networks"]:
            found.setdefault(network, set()).add(name)
    assert found == MEMBERS
    declared = {name: row for rendered in projects.values() for name, row in rendered["compose"]["networks"].items()}
    assert {name for name, row in declared.items() if row.get("internal")} == INTERNAL
    assert all(row["name"] == name for name, row in declared.items())


@pytest.mark.parametrize(
    ("name", "values", "mtu"),
    [
        ("default", {}, None),
        ("chosen", {"trigger_network_mtu": 1400}, "1400"),
        ("smaller", {"__trigger_host": {"host": {"mtu": 1420}}}, "1420"),
        ("usual", {"__trigger_host": {"host": {"mtu": 1500}}}, None),
        ("jumbo", {"__trigger_host": {"host": {"mtu": 8900}}}, None),
    ],
)
def test_networks_follow_the_mtu_of_the_host(
    tmp_path: Path, name: str, values: dict[str, Any], mtu: str | None
) -> None:
    (found,) = render_cases(
        tmp_path,
        *("trigger", "compose_project"),
        host="worker1.example.com",
        wanted={"networks": "__compose_project_network_defaults"},
        cases={name: {"trigger_origin": "http://localhost:8030", **values}},
    ).values()
    assert found["networks"] == ({"driver_opts": {"com.docker.network.driver.mtu": mtu}} if mtu else {})


@pytest.mark.parametrize(
    ("tag", "mount", "told"),
    [
        ("14", "/var/lib/postgresql/data", None),
        ("17.6-bookworm", "/var/lib/postgresql/data", None),
        ("latest", "/var/lib/postgresql/data", None),
        ("18", "/var/lib/postgresql", "/var/lib/postgresql"),
        ("18.6-trixie", "/var/lib/postgresql", "/var/lib/postgresql"),
    ],
)
def test_the_data_of_postgres_is_at_the_top_of_its_volume(
    tmp_path: Path, tag: str, mount: str, told: str | None
) -> None:
    """PGDATA of the official images before 18 is that folder already; a variable more would restart the server."""
    (found,) = render_cases(
        tmp_path,
        *("trigger", "webapp"),
        host="control.example.com",
        wanted={"service": "__webapp_services['trigger-postgres'].container.volumes", "told": "__test_data_folder"},
        cases={
            "case": {
                "trigger_origin": "http://localhost:8030",
                "webapp_postgres_image": f"docker.io/library/postgres:{tag}",
                "__test_data_folder": "{{ __webapp_services['trigger-postgres'].environment.PGDATA }}",
            }
        },
    ).values()
    assert found == {"service": [f"trigger_postgres_data:{mount}"], "told": told or ""}


def test_nothing_else_is_published(projects: Projects) -> None:
    found = {name: row["ports"] for _, name, row in services(projects) if "ports" in row}
    assert {name: [port.rpartition(":")[2] for port in ports] for name, ports in found.items()} == {
        name: [port] for name, port in PUBLISHED.items()
    }
    assert all(port.count(":") == 2 for port in itertools.chain.from_iterable(found.values())), "no address to bind to"


def test_only_the_proxy_has_the_socket_of_the_engine(projects: Projects) -> None:
    holders = {
        name
        for _, name, row in services(projects)
        if any("docker.sock" in str(volume) for volume in row.get("volumes", []))
    }
    assert holders == {"docker-socket-proxy"}


def test_volumes_have_the_names_that_users_know(projects: Projects) -> None:
    assert {
        row["name"] for rendered in projects.values() for row in rendered["compose"].get("volumes", {}).values()
    } == VOLUMES


def test_a_mounted_file_is_seen_by_compose(projects: Projects) -> None:
    """Compose does not look into a file that a service mounts; a label with its checksum tells it about a change."""
    for _, name, row in services(projects):
        mounted = [volume for volume in row.get("volumes", []) if re.search(r"\.(conf|cfg|json|yml|xml):", str(volume))]
        assert bool(mounted) == ("dev.trigger.ansible/config" in row["labels"]), name


def test_health_checks_use_what_the_genuine_image_holds(projects: Projects) -> None:
    rows = yaml.safe_load((HERE.parents[1] / "testbed/images/images.yml").read_text())["images"]
    tools = {row["reference"].rpartition(":")[0]: row["tools"] for row in rows if "tools" in row}
    for _, name, row in services(projects):
        kind, *words = row["healthcheck"]["test"]
        assert kind in ("CMD", "CMD-SHELL"), name
        if kind == "CMD":
            used = {words[0]}
        else:
            lexer = shlex.shlex(words[0], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            parts = [
                list(group)
                for split, group in itertools.groupby(lexer, lambda word: not word.strip(";|&()"))
                if not split
            ]
            # What the shell itself does, and the patterns of a case, need no program.
            used = {"sh", *(part[0] for part in parts if not re.match(r"(case|esac|exit|kill)$|\*|\w+=", part[0]))}
        assert used <= set(tools[row["image"].rpartition(":")[0]]), f"{name}: {used}"
        assert "localhost" not in " ".join(words), f"{name}: localhost may be ::1, on which not every program listens"


def test_the_start_order_goes_by_health(projects: Projects) -> None:
    rows = {name: row for _, name, row in services(projects)}
    assert set(rows["webapp"]["depends_on"]) == DATA_SERVICES
    assert set(rows["supervisor"]["depends_on"]) == {"docker-socket-proxy"}
    for name, row in rows.items():
        for needed in row.get("depends_on", {}).values():
            assert needed["condition"] == "service_healthy", name


def test_no_supervisor_starts_without_a_firewall(projects: Projects) -> None:
    """The engine starts no container whose mounted file is missing, and this one is there once rules were loaded."""
    (gate,) = projects["trigger-supervisor"]["compose"]["services"]["supervisor"]["volumes"]
    assert gate["source"].startswith("/run/"), "it must be gone after a boot"
    assert gate["bind"] == {"create_host_path": False}


def test_postgres_can_replicate_and_cannot_fill_the_disk(projects: Projects) -> None:
    command = projects["trigger-webapp"]["compose"]["services"]["trigger-postgres"]["command"]
    settings = dict(word.split("=", 1) for word in command if "=" in word)
    assert settings["wal_level"] == "logical"
    assert int(settings["max_replication_slots"]) >= 2
    assert re.fullmatch("[1-9][0-9]*MB", settings["max_slot_wal_keep_size"])


def test_supervisors_start_runners_where_they_reach_them(projects: Projects) -> None:
    values = projects["trigger-supervisor"]["environments"]["supervisor"]
    networks = projects["trigger-supervisor"]["compose"]["networks"]
    assert values["DOCKER_RUNNER_NETWORKS"] in networks
    assert not networks[values["DOCKER_RUNNER_NETWORKS"]].get("internal")
    assert values["TRIGGER_WORKLOAD_API_DOMAIN"] == "supervisor"
    assert values["DOCKER_HOST"] == "tcp://docker-socket-proxy:2375"
    assert (
        "localhost"
        not in values["TRIGGER_API_URL"] + values["OTEL_EXPORTER_OTLP_ENDPOINT"] + values["DOCKER_REGISTRY_URL"]
    )
