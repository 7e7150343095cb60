# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._engine_settings import engine_config


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"max-concurrent-uploads": 9, "debug": True},
        {"log-driver": "local"},
        {"data-root": "/data/docker"},
        {"iptables": True},
        {"icc": False},
        {"proxies": {"http-proxy": "http://proxy:3128", "https-proxy": "http://proxy:3128", "no-proxy": "10.0.0.0/8"}},
    ],
)
def test_keys_are_free(given: dict[str, Any]) -> None:
    assert engine_config(given) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hosts": ["tcp://0.0.0.0:2375"]}, ["hosts cannot be set here", "-H"]),
        ({"userns-remap": "default"}, ["userns-remap cannot be set here", "lose sight"]),
        ({"log-driver": "syslog"}, ["log-driver is 'syslog'", "json-file, local, journald", "hold passwords"]),
        ({"log-driver": "none"}, ["log-driver is 'none'"]),
        ({"log-driver": ["local"]}, ["log-driver is ['local']"]),
        ({"iptables": False}, ["iptables must stay true"]),
        ({"iptables": "false"}, ["iptables must stay true"]),
        ({"ip-forward": False}, ["ip-forward must stay true"]),
        ({"ip-masq": False}, ["ip-masq must stay true"]),
        ({"data-root": "docker"}, ["data-root is 'docker'", "absolute path"]),
        ({"data-root": None}, ["data-root is None"]),
        ({"live-restore": False}, ["docker_engine_live_restore_enabled"]),
        ({"log-opts": {}}, ["docker_engine_log_options"]),
        ({"insecure-registries": []}, ["docker_engine_insecure_registries"]),
        ({"no-new-privileges": False}, ["docker_engine_no_new_privileges_enabled"]),
        ({"hosts": [], "iptables": False}, ["hosts cannot", ". iptables must"]),
    ],
)
def test_keys_that_would_end_something_are_refused(given: dict[str, Any], words: list[str]) -> None:
    found = engine_config(given)
    assert found is not None
    assert [word for word in words if word not in found] == [], found
