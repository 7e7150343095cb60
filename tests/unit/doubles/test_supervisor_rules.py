# SPDX-License-Identifier: MIT
"""The supervisor's rule table against what the real program did when it was started with these values."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles import rules
from doubles.supervisor import config

TABLE = rules.load(Path(config.__file__).with_name("rules.yml"))
NEWER = rules.load(Path(config.__file__).with_name("rules.yml"), "4.5")
GOOD = {
    "TRIGGER_API_URL": "http://control.lab:8030",
    "TRIGGER_WORKER_TOKEN": "tr_wgt_x",
    "MANAGED_WORKER_SECRET": "secret",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://control.lab:8030/otel",
}


def ends(environment: dict[str, str], table: list[rules.Rule] = TABLE) -> bool:
    return any(rules.fatal(table, environment, stage) for stage in ("schema", "client"))


def test_the_four_required_variables_are_enough() -> None:
    assert not ends(GOOD)


@pytest.mark.parametrize("name", list(GOOD))
def test_required_variable_missing_or_empty(name: str) -> None:
    assert ends({key: value for key, value in GOOD.items() if key != name})
    assert ends({**GOOD, name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRIGGER_WORKLOAD_API_PROTOCOL", ""),
        ("TRIGGER_WORKLOAD_API_PROTOCOL", "tcp"),
        ("TRIGGER_DEQUEUE_SCALING_STRATEGY", ""),
        ("TRIGGER_DEQUEUE_SCALING_BATCH_WINDOW_MS", ""),
        ("TRIGGER_WORKER_INSTANCE_NAME", ""),
        ("TRIGGER_API_URL", "control.lab"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "control.lab/otel"),
        ("TRIGGER_DEQUEUE_INTERVAL_MS", "fast"),
        ("TRIGGER_DEQUEUE_SCALING_EWMA_ALPHA", "2"),
    ],
)
def test_wrong_value_is_fatal(name: str, value: str) -> None:
    assert ends({**GOOD, name: value})


@pytest.mark.parametrize(
    "name",
    [
        "TRIGGER_WORKLOAD_API_PORT_INTERNAL",
        "TRIGGER_WORKLOAD_API_PORT_EXTERNAL",
        "TRIGGER_DEQUEUE_ENABLED",
        "TRIGGER_WORKLOAD_API_ENABLED",
        "DOCKER_AUTOREMOVE_EXITED_CONTAINERS",
        "DOCKER_ENFORCE_MACHINE_PRESETS",
        "DOCKER_REGISTRY_PASSWORD",
    ],
)
def test_empty_value_starts(name: str) -> None:
    assert not ends({**GOOD, name: ""})


def test_empty_port_is_zero_and_empty_booleans_are_false() -> None:
    names = (
        "TRIGGER_DEQUEUE_ENABLED",
        "TRIGGER_WORKLOAD_API_ENABLED",
        "DOCKER_AUTOREMOVE_EXITED_CONTAINERS",
        "DOCKER_ENFORCE_MACHINE_PRESETS",
        "TRIGGER_WORKLOAD_API_PORT_EXTERNAL",
    )
    found = config.settings({**GOOD, **dict.fromkeys(names, "")})
    assert not any((found.dequeue_enabled, found.workload_enabled, found.autoremove, found.enforce_presets))
    assert found.workload_port_external == 0
    defaults = config.settings(GOOD)
    assert defaults.dequeue_enabled
    assert defaults.workload_enabled
    assert defaults.autoremove
    assert defaults.enforce_presets


@pytest.mark.parametrize(
    ("changes", "fatal"),
    [
        ({}, False),
        ({"WORKLOAD_TOKEN_ENFORCEMENT": "log"}, True),
        ({"WORKLOAD_TOKEN_ENFORCEMENT": "log", "WORKLOAD_TOKEN_SECRET": "s"}, False),
        ({"DELETE_CHECKPOINTS_ON_COMPLETION": "true"}, True),
        ({"DELETE_CHECKPOINTS_ON_COMPLETION": "true", "WORKLOAD_TOKEN_ENFORCEMENT": "disabled"}, True),
        ({"TRIGGER_DEQUEUE_BACKPRESSURE_ENABLED": "true"}, True),
        ({"TRIGGER_DEQUEUE_BACKPRESSURE_ENABLED": "true", "TRIGGER_DEQUEUE_BACKPRESSURE_REDIS_HOST": "redis"}, False),
        ({"TRIGGER_WARM_START_VERIFY_DELAY_MS": "999"}, True),
    ],
)
def test_the_newer_line_has_rules_of_its_own(changes: dict[str, str], fatal: bool) -> None:
    assert ends({**GOOD, **changes}, NEWER) == fatal
    assert not ends({**GOOD, **changes})


@pytest.mark.parametrize(
    ("environment", "quirk"),
    [
        (GOOD, "runners_call_localhost"),
        ({**GOOD, "DOCKER_REGISTRY_URL": "control.lab:5000", "DOCKER_REGISTRY_USERNAME": "u"}, "no_registry_login"),
        ({**GOOD, "ENFORCE_MACHINE_PRESETS": "0"}, "unread_variable"),
    ],
)
def test_silently_wrong(environment: dict[str, str], quirk: str) -> None:
    assert quirk in rules.quirks(TABLE, environment)


def test_the_unread_variable_changes_nothing() -> None:
    assert config.settings({**GOOD, "ENFORCE_MACHINE_PRESETS": "0"}).enforce_presets


def test_every_rule_names_its_fact() -> None:
    assert all(rule.fact for rule in TABLE)
