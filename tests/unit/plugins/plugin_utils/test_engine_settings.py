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
        {"dns": ["10.0.0.53"], "bip": "10.200.0.1/24", "mtu": 1400, "features": {"containerd-snapshotter": True}},
        {
            "registry-mirrors": [
                "https://mirror.example.com",
                "http://10.0.0.5:5000/",
                "https://mirror.example.com/docker",
            ],
            "an-unknown-key": [1],
        },
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
        ({"dns": "10.0.0.53"}, ["dns is '10.0.0.53'", "a list"]),
        ({"debug": "true"}, ["debug is 'true'", "true or false"]),
        ({"mtu": "1400"}, ["mtu is '1400'", "a whole number"]),
        ({"mtu": True}, ["mtu is True", "a whole number"]),
        ({"bip": 10}, ["bip is 10", "a text"]),
        ({"features": []}, ["features is []", "a dictionary"]),
        ({"registry-mirrors": ["mirror.example.com"]}, ["registry-mirrors has 'mirror.example.com'", "https://"]),
        ({"registry-mirrors": "https://mirror.example.com"}, ["registry-mirrors is 'https://mirror", "a list"]),
        ({"data_root": "/data"}, ["data_root is no key", "data-root"]),
        ({"hosts": [], "iptables": False}, ["hosts cannot", ". iptables must"]),
    ],
)
def test_keys_that_would_end_something_are_refused(given: dict[str, Any], words: list[str]) -> None:
    found = engine_config(given)
    assert found is not None
    assert [word for word in words if word not in found] == [], found
