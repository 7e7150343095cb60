# SPDX-License-Identifier: MIT
"""Wrong values of every kind, for every real row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_rows import (
    Row,
    all_problems,
    differences,
    for_hosts,
    load_rows,
    problems,
    secret_texts,
)

ROWS: dict[str, Row] = {name: row for role in load_rows().values() for name, row in role.items()}
HIDDEN = "hunter2-hunter2"
# Type -> values that look like one and are none, as inventories really hold them.
WRONG: dict[str, list[Any]] = {
    "bool": ["false", "true", "False", "no", "", "0", 0, 1, None, [], {}],
    "int": [True, False, "8030.0", "two", "", " 5", "5 ", "0x10", "1e3", 5.5, None, [5], {}, "５"],
    "float": [True, "two", "nan", "inf", float("nan"), float("inf"), "", "1,5", None, [], {}],
    "str": [5, 4.2, False, None, [HIDDEN], {"a": HIDDEN}, "a\0b", "\udcff"],
    "path": [5, False, None, ["/opt/x"], {}, "/opt/a\0b"],
    "list": [HIDDEN, 5, True, None, {"a": HIDDEN}, ""],
    "dict": [HIDDEN, 5, True, None, [HIDDEN], ""],
}
CASES = [(name, value) for name, row in ROWS.items() for value in WRONG[row["type"]]]


def accepted(row: Row, value: object) -> bool:
    """Say whether the row takes a value of another type on purpose."""
    return type(value).__name__ in row.get("accepts", ())


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}-{value!r}" for name, value in CASES])
def test_a_wrong_value_is_refused_in_one_sentence(name: str, value: object) -> None:
    row = ROWS[name]
    found = list(problems(name, value, row))
    if accepted(row, value):
        assert all(text.startswith(f"{name} must be ") or "NUL" in text for text in found)
        return
    assert len(found) == 1, found
    assert found[0].startswith(f"{name} ")
    assert found[0].endswith(".")
    if row.get("secret"):
        assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if "default" in row and "{{" not in str(row["default"])]
)
def test_a_default_is_right(name: str) -> None:
    found = list(problems(name, ROWS[name]["default"], ROWS[name]))
    # trigger_origin is the one setting that everybody must set.
    assert len(found) == (name == "trigger_origin"), found


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["type"] in ("int", "float")])
def test_a_number_beyond_its_range_is_refused(name: str) -> None:
    low, high = ROWS[name]["range"]
    for value in (low - 1, high + 1, str(int(high) + 1)):
        (text,) = problems(name, value, ROWS[name])
        assert text.startswith(f"{name} must be ")
        assert text.endswith(f"from {low} to {high}, and is {value}.")
    assert list(problems(name, low, ROWS[name])) == []
    assert list(problems(name, f"{high}", ROWS[name])) == []


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if row["type"] == "str" and not row.get("empty") and "format" in row]
)
def test_an_empty_text_is_refused(name: str) -> None:
    (text,) = problems(name, "", ROWS[name])
    assert text.startswith(f"{name} must be set, and is empty: it must be ")


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "choices" in row])
def test_a_text_that_is_no_choice_is_refused(name: str) -> None:
    (text,) = problems(name, "somethingelse", ROWS[name])
    assert text.startswith(f"{name} must be one of ")
    assert text.endswith(", and is 'somethingelse'.")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "webapp_telemetry_enabled",
            "false",
            ["the text 'false'", "without quotes", "-e '{\"webapp_telemetry_enabled\": false}'"],
        ),
        ("webapp_port", True, ["the boolean true"]),
        ("webapp_cpus", "two", ["a number", "'two'"]),
        ("trigger_origin", ["https://a.example.com"], ["a text", "the list ['https://a.example.com']"]),
        ("trigger_worker_group_name", 5, ["a text", "the number 5", "in quotes"]),
        ("runner_firewall_deny", "10.0.0.1", ["a list", "Write it as [10.0.0.1]"]),
        # As `-e name=[a,b]` gives it.
        (
            "secrets_rotate_names",
            "[redis_password, postgres_password]",
            [
                "Write it as [redis_password, postgres_password]",
                "-e",
                '{"secrets_rotate_names": ["redis_password", "po',
            ],
        ),
        ("supervisor_instances", "gpu", ["a list", "'gpu'"]),
        ("supervisor_instances", [], ["must have 1 to 100 entries, and has 0"]),
        ("supervisor_instances", [{"group": "eu"}], ["supervisor_instances[0] needs a name"]),
        ("supervisor_instances", [{"name": 7}], ["supervisor_instances[0].name", "the number 7"]),
        ("supervisor_instances", [{"name": "a", "gruop": "eu"}], ["'gruop'", "name, group"]),
        ("supervisor_instances", ["gpu"], ["supervisor_instances[0] must be a mapping"]),
        ("trigger_log_options", {"max-size": "10 megabytes"}, ["trigger_log_options.max-size", "10 megabytes", "10m"]),
        ("trigger_log_options", {"max-file": 3}, ["trigger_log_options.max-file", "in quotes"]),
        ("trigger_log_options", {"maxsize": "10m"}, ["'maxsize'", "max-size"]),
        ("trigger_log_options", {"compress": "true", "max-size": "10m"}, ["trigger_log_options: compress", "max-file"]),
        ("trigger_log_options", {"compress": "true", "max-file": "3"}, ["trigger_log_options: compress", "max-size"]),
        ("trigger_log_options", {"max-buffer-size": "4m"}, ["max-buffer-size needs mode non-blocking"]),
        ("docker_engine_log_options", {"max-file": "three"}, ["docker_engine_log_options.max-file", "'three'"]),
        ("trigger_time_zone", "Mars/Base", ["Europe/Vienna", "'Mars/Base'"]),
        ("trigger_directory", "/etc", ["/opt/trigger", "'/etc'"]),
        ("gateway_private_clients", ["ci.example.com"], ["gateway_private_clients[0]", "10.0.0.0/16"]),
        ("gateway_tls", True, ["acme, files, internal, off", "'on'"]),
        (
            "trigger_secrets",
            {"object_store_secret_key": "hunter2"},
            ["trigger_secrets.object_store_secret_key", "8 to 256"],
        ),
        ("trigger_secrets", {"redis_password": 31415926}, ["trigger_secrets.redis_password", "in quotes"]),
        ("trigger_secrets", {5: "hunter2"}, ["the key 5"]),
        (
            "trigger_secrets",
            {"redis_password": "${hunter2}"},
            ["trigger_secrets.redis_password is a placeholder, which"],
        ),
        (
            "trigger_secrets",
            {"registry_password": "$apr1$hunter2$x"},
            ["trigger_secrets.registry_password is the hash of a password"],
        ),
        (
            "webapp_redis_host",
            "host.docker.internal",
            ["webapp_redis_host is 'host.docker.internal', which has host.docker.internal, a name of Docker Desktop"],
        ),
        ("webapp_deploy_base_images", {"node": "x"}, ["the key 'node'", "node-22"]),
        (
            "trigger_secrets",
            {"registry_password": "hunter23", "redis_password": "hunter23", "backup_key": "other-value"},
            ["trigger_secrets: registry_password and redis_password have the same value"],
        ),
        ("webapp_extra_env", {"SMTP_HOST": "mail.example.com"}, ["webapp_extra_env.SMTP_HOST must be a mapping"]),
        ("gateway_extra_env", {"TOKEN": "hunter\0"}, ["gateway_extra_env.TOKEN", "NUL"]),
        ("trigger_secrets", {"redis_password": "hunter\0"}, ["trigger_secrets.redis_password", "NUL"]),
        ("webapp_extra_env", {"webapp": {"SMTP-HOST": "x"}}, ["webapp_extra_env.webapp has the key 'SMTP-HOST'"]),
        ("webapp_extra_env", {"webapp": {"FLAG": True}}, ["webapp_extra_env.webapp.FLAG must be a text", "'true'"]),
        ("webapp_extra_env", {"webapp": {"RATE": ["hunter"]}}, ["webapp_extra_env.webapp.RATE must be a text"]),
        ("registry_extra_env", {"REGISTRY_LOG_LEVEL": ""}, ["registry_extra_env.REGISTRY_LOG_LEVEL must be set"]),
        ("gateway_extra_env", {"A B": "hunter"}, ["gateway_extra_env has the key 'A B'"]),
        ("supervisor_extra_env", {"RATIO": 0.5}, ["supervisor_extra_env.RATIO must be a text", "0.5"]),
        ("supervisor_runner_extra_env", {"1ST": "x"}, ["supervisor_runner_extra_env has the key '1ST'"]),
        (
            "webapp_machine_presets",
            {"machines": {"micro": {"cpu": "half"}}},
            ["webapp_machine_presets.machines.micro.cpu"],
        ),
        (
            "webapp_machine_presets",
            {"machines": {"micro": {"cpu": "0.5"}}},
            ["webapp_machine_presets.machines.micro.cpu must be a number", "the text '0.5'", "without quotes"],
        ),
        ("webapp_smtp_port", None, ["no value (null)", "remove the line"]),
        # As YAML reads 2026-01-31T12:00:00Z, 2026-01-31 and 12:30.
        (
            "backup_restore_time",
            datetime(2026, 1, 31, 12, tzinfo=UTC),
            ["the date 2026-01-31 12:00:00", "without quotes. Write it in quotes"],
        ),
        ("trigger_version", date(2026, 1, 31), ["must be a text, and is the date 2026-01-31", "Write it in quotes"]),
        ("webapp_smtp_password", date(2026, 1, 31), ["must be a text, and is a date:"]),
        ("backup_schedule", 750, ["the number 750. YAML reads a time so without quotes: write it in quotes"]),
    ],
)
def test_the_message_says_what_to_set(name: str, value: object, words: list[str]) -> None:
    (text,) = problems(name, value, ROWS[name])
    assert [word for word in words if word not in text] == [], text
    assert "hunter" not in text
    assert "31415926" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gateway_tls", False),
        ("supervisor_serial", 2),
        ("registry_release", 3),
        ("webapp_port", "8031"),
        ("webapp_cpus", 2),
        ("worker_hosts", "w1,w2"),
        ("webapp_memory_mib", 0),
        ("webapp_extra_env", {"webapp": {"RUN_ENGINE_WORKER_COUNT": 8, "APP_ENV": None}}),
        ("trigger_log_options", {"compress": "true", "max-size": "10m", "max-file": "2", "mode": "non-blocking"}),
        ("docker_engine_log_options", {}),
        ("trigger_secrets", {"postgres_password": "a", "redis_password": "a", "clickhouse_password": "A"}),
    ],
)
def test_what_people_write_is_taken(name: str, value: object) -> None:
    assert list(problems(name, value, ROWS[name])) == []


def test_an_image_of_another_setting_is_refused() -> None:
    values = {
        "webapp_redis_image": "mirror.acme.org/library/postgres:16",
        "webapp_postgres_image": "mirror.acme.org/own/postgres:16",
        "gateway_image": "mirror.acme.org/caddy-dns:2.10",
        "webapp_image": "ghcr.io/me/supervisor:v1",
        # Somebody knows what that is.
        "registry_image": f"mirror.acme.org/caddy@sha256:{'0' * 64}",
        "supervisor_image": "ghcr.io/me/worker:1",
    }
    assert list(all_problems({"a": values}, ROWS)) == [
        "webapp_redis_image is 'mirror.acme.org/library/postgres:16', which is what webapp_postgres_image is for: it"
        " must be an image of redis.",
        "webapp_image is 'ghcr.io/me/supervisor:v1', which is what supervisor_image is for: it must be an image of"
        " trigger.dev.",
    ]


def test_names_in_one_text_may_have_blanks() -> None:
    assert list(problems("worker_hosts", "worker1, worker2,", ROWS["worker_hosts"])) == []
    assert list(problems("worker_hosts", "worker1 worker2", ROWS["worker_hosts"])) != []


def test_hosts_are_named_where_they_differ() -> None:
    wrong, good = {"webapp_port": True}, {"webapp_port": 1}
    text = "webapp_port must be a whole number, and is the boolean true."
    assert all_problems({"a": wrong, "b": good, "c": {}}, ROWS) == {text: ["a"]}
    assert for_hosts({text: ["a", "b"]}, ["a", "b"]) == [text]
    assert for_hosts({text: ["a"]}, ["a", "b"]) == [f"a: {text}"]
    assert for_hosts({text: ["a", "b", "c", "d", "e"]}, "abcdef") == [f"a, b, c and 2 more: {text}"]


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    row = ROWS["gateway_ca_file"]
    (tmp_path / "ca.der").write_bytes(b"\x30\x82\xff")
    (tmp_path / "ca.pem").write_text("$ANSIBLE_VAULT;1.1;AES256\n00")
    assert list(problems("gateway_ca_file", str(tmp_path / "ca.pem"), row)) == []
    (binary,) = problems("gateway_ca_file", str(tmp_path / "ca.der"), row)
    assert binary.startswith(f"gateway_ca_file: {tmp_path}/ca.der is not text")
    (folder,) = problems("gateway_ca_file", str(tmp_path), row)
    assert folder == f"gateway_ca_file: {tmp_path} on the controller cannot be read: Is a directory."
    # Who reads the file says that it is missing, and only where it is read.
    assert list(problems("gateway_ca_file", "/nowhere/ca.pem", row)) == []


def test_a_long_value_is_cut() -> None:
    (text,) = problems("webapp_port", "x" * 10_000, ROWS["webapp_port"])
    assert len(text) < 300


def test_texts_of_secrets_are_found_however_deep_they_stand() -> None:
    assert list(secret_texts("31415926")) == ["31415926"]
    assert list(secret_texts({"webapp": {"KEY": "deep", "PORT": "8080", "ON": "true", "N": 5, "X": None}})) == ["deep"]
    assert list(secret_texts([{"name": "anna", "password": "secret"}])) == ["anna", "secret"]
    assert list(secret_texts("")) == []


def test_a_file_of_cas_is_read_before_it_goes_to_hosts(tmp_path: Path) -> None:
    rows = {name for name, row in ROWS.items() if row.get("check") == "ca_file"}
    assert rows == {name for name in ROWS if name.endswith("_ca_file")}
    file = tmp_path / "ca.pem"
    for name in rows:
        assert list(problems(name, str(file), ROWS[name])) == []
        for text, words in {"nothing": "holds no certificate", "PRIVATE KEY": "holds a private key"}.items():
            file.write_text(text)
            (problem,) = problems(name, str(file), ROWS[name])
            assert f"{name}: {file} {words}" in problem
        file.write_text("$ANSIBLE_VAULT;1.1;AES256\n00")
        assert list(problems(name, str(file), ROWS[name])) == []
        file.unlink()


REDIS = "docker.io/library/redis"


@pytest.mark.parametrize(
    ("tag", "right"),
    [
        ("7", True),
        ("7.4.5-bookworm", True),
        ("v8.0", True),
        ("10", True),
        ("6", False),
        ("6.2.14-alpine", False),
        ("v6", False),
        # No version, so it is the operator's affair.
        ("6a1f", True),
        ("bookworm", True),
        ("20250101", True),
        (f"6@sha256:{'0' * 64}", True),
    ],
)
def test_an_image_that_is_too_old_is_known_by_its_tag(tag: str, right: bool) -> None:
    found = list(problems("webapp_redis_image", f"{REDIS}:{tag}", ROWS["webapp_redis_image"]))
    assert found == [] if right else "webapp_redis_image must be 7 or later" in found[0]
    assert (
        list(problems("webapp_redis_image", f"registry.example.com/redis-of-ours:{tag}", ROWS["webapp_redis_image"]))
        == []
    )


def test_a_tag_with_fewer_numbers_is_the_newest_of_its_series() -> None:
    row = ROWS["gateway_image"]
    assert [list(problems("gateway_image", f"library/caddy:{tag}", row)) for tag in ("2", "2-alpine", "2.10")] == [
        []
    ] * 3
    assert all(list(problems("gateway_image", f"library/caddy:{tag}", row)) for tag in ("1", "2.7.6", "2.7-alpine"))


def test_every_oldest_version_is_held_against_the_program_of_the_default() -> None:
    found = {name: row["default"].rpartition("/")[2].partition(":")[0] for name, row in ROWS.items() if "oldest" in row}
    assert found == {
        "gateway_image": "caddy",
        "monitoring_prometheus_image": "prometheus",
        "registry_image": "registry",
        "supervisor_proxy_image": "haproxy",
        "webapp_redis_image": "redis",
    }


SAME: dict[str, Row] = {
    "origin": {"type": "str", "same": True},
    "port": {"type": "int", "same": True},
    "clients": {"type": "list", "same": True},
    "tls": {"type": "str", "accepts": ["bool"], "same": True},
    "memory": {"type": "int"},
}


def differing(values: dict[str, dict[str, object]], **defaults: object) -> list[str]:
    return list(differences(values, SAME, lambda _host, name: defaults.get(name)))


def test_a_setting_of_the_installation_is_the_same_for_all_hosts() -> None:
    assert differing({"control": {"origin": "a"}, "w1": {"origin": "b"}, "w2": {}}) == [
        "origin differs: a (control), b (w1), not set (w2). The installation has one: set it for the group all."
    ]
    workers: dict[str, dict[str, object]] = {f"w{number}": {"origin": ""} for number in range(1, 6)}
    assert differing({"control": {"origin": "https://me:secret@a"}, **workers}) == [
        "origin differs: https://me:***@a (control), empty (w1, w2, w3 and 2 more). The installation has one: set it"
        " for the group all."
    ]


def test_what_means_the_same_is_no_difference() -> None:
    assert differing({"control": {"port": 5, "tls": False}, "w1": {"port": "5", "tls": "off"}}) == []
    assert differing({"control": {"memory": 1}, "w1": {"memory": 2}}) == []
    assert differing({"control": {}, "w1": {}}) == []
    assert differing({"control": {"clients": ["a", "b"]}, "w1": {"clients": ["b", "a"]}}) == []
    assert differing({"control": {"clients": []}, "w1": {}}, clients=[]) == []
    assert differing({"control": {"clients": ["b", "a"]}, "w1": {"clients": []}}) == [
        "clients differs: a, b (control), empty (w1). The installation has one: set it for the group all."
    ]
    # Where it is not set, the default counts.
    assert differing({"control": {"port": "5000"}, "w1": {}}, port=5000) == []
    assert len(differing({"control": {"port": 5001}, "w1": {}}, port=5000)) == 1
    assert len(differing({"control": {"origin": "a"}, "w1": {}})) == 1


def test_only_plain_settings_that_may_be_shown_are_compared() -> None:
    same = [row for row in ROWS.values() if row.get("same")]
    assert len(same) > 20
    assert {row["type"] for row in same} <= {"bool", "int", "str", "path", "list"}
    assert all(row["elements"]["type"] == "str" for row in same if row["type"] == "list")
    assert not [row for row in same if row.get("secret") or row.get("hidden")]
