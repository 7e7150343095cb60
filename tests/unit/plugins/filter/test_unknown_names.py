# SPDX-License-Identifier: MIT
from __future__ import annotations

import time

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.unknown_names import unknown_names

KNOWN = {"webapp": ["webapp_port", "webapp_image"], "trigger": ["trigger_origin"], "docker_engine": []}


def test_the_nearest_known_name_is_told() -> None:
    assert unknown_names({"a": ["webapp_prot"]}, KNOWN) == [
        "webapp_prot (set for a; the nearest known name is webapp_port)"
    ]


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    assert unknown_names({"a": ["docker_engine_colour"]}, KNOWN) == ["docker_engine_colour (set for a)"]


def test_names_of_others_are_left_alone() -> None:
    mine = ["webapp_port", "trigger_origin"]
    others = ["ansible_host", "webapps", "__webapp_checked", "nginx_webapp_prot", "docker_daemon"]
    assert unknown_names({"a": mine + others}, KNOWN) == []


def test_each_name_is_told_once_with_its_hosts() -> None:
    hosts = {f"worker{number}": ["trigger_orgin"] for number in range(1, 6)}
    assert unknown_names(hosts | {"control": ["webapp_images"]}, KNOWN) == [
        "trigger_orgin (set for worker1, worker2, worker3 and 2 more; the nearest known name is trigger_origin)",
        "webapp_images (set for control; the nearest known name is webapp_image)",
    ]


def test_foreign_names_are_passed_over_and_never_proposed() -> None:
    assert unknown_names({"a": ["webapp_quantile", "webapp_quantiles"]}, KNOWN, ["webapp_quantile"]) == [
        "webapp_quantiles (set for a)"
    ]


def test_a_former_name_is_told_its_new_one_whatever_it_starts_like() -> None:
    renamed = {"0.1.0": {"worker": "worker_hosts"}, "0.3.0": {"webapp_door": "webapp_port"}}
    assert unknown_names({"a": ["worker", "webapp_door", "workers"]}, KNOWN, renamed=renamed) == [
        "webapp_door (set for a; it is called webapp_port since version 0.3.0 of the collection)",
        "worker (set for a; it is called worker_hosts since version 0.1.0 of the collection)",
    ]
    assert unknown_names({"a": ["worker"]}, KNOWN, ["worker"], renamed) == []


def test_variables_of_upstream_are_told_their_setting() -> None:
    given = ["SMTP_HOST", "APP_ORIGIN", "ENCRYPTION_KEY", "DATABASE_URL"]
    assert unknown_names({"a": given}, KNOWN, ["DATABASE_URL"]) == [
        "APP_ORIGIN (set for a; it is trigger_origin here)",
        "ENCRYPTION_KEY (set for a; it is trigger_secrets.encryption_key here)",
        "SMTP_HOST (set for a; it is webapp_smtp_host here)",
    ]


def test_variables_that_many_programs_read_are_left_alone() -> None:
    others = ["HTTP_PROXY", "PATH", "TZ", "DEBUG", "AWS_REGION", "NODE_OPTIONS", "OWN_NAME", "smtp_host"]
    assert unknown_names({"a": others}, KNOWN) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("webap_port", "webapp_port"),
        ("Wepapp_port", "webapp_port"),
        ("triger_origin", "trigger_origin"),
        ("dockerengine_version", "docker_engine_version"),
        ("monitor_enabled", "monitoring_enabled"),
        ("task_image_retention_days", "task_images_retention_days"),
    ],
)
def test_a_name_that_is_misspelt_in_its_first_word_is_told(name: str, meant: str) -> None:
    known = {
        **KNOWN,
        "docker_engine": ["docker_engine_version"],
        "monitoring": ["monitoring_enabled"],
        "task_images": ["task_images_retention_days"],
    }
    assert unknown_names({"a": [name]}, known) == [f"{name} (set for a; the nearest known name is {meant})"]
    assert unknown_names({"a": [name]}, known, [name]) == []


def test_names_of_others_may_be_near() -> None:
    """Another word in front of a setting, and another program."""
    others = ["my_webapp_port", "web_port", "ansible_port", "_webap_port", "webap_image_tag", "trigger", "origin"]
    assert unknown_names({"a": others}, KNOWN) == []
    known = {"docker_engine": ["docker_engine_insecure_registries", "docker_engine_live_restore_enabled"]}
    assert unknown_names({"a": ["docker_insecure_registries", "docker_live_restore_enabled"]}, known) == []


def test_thousands_of_names_are_judged_at_once() -> None:
    every = {f"role{role}": [f"role{role}_{word}_enabled" for word in range(40)] for role in range(20)}
    names = {f"host{host}": [f"other_{host}_{number}_enabled" for number in range(10)] for host in range(300)}
    began = time.process_time()
    assert unknown_names(names, every) == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["Trigger_origin", "TRIGGER_ORIGIN", "trigger-origin"])
def test_another_spelling_is_told_too(name: str) -> None:
    assert unknown_names({"a": [name]}, KNOWN) == [f"{name} (set for a; the nearest known name is trigger_origin)"]
