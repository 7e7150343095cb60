# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.host_problems import host_problems
from hypothesis import given
from hypothesis import strategies as st

NEEDS = {
    "cpus": 4,
    "memory_mib": 7600,
    "apparmor_used": True,
    "architectures": ["amd64", "arm64"],
    "disks_mib": {"/opt/trigger": 512, "/var/lib/docker": 10240},
    "bound": {"trigger_bind_address": "10.0.0.10", "monitoring_bind_address": "127.0.0.1"},
}


def host(**changes: Any) -> dict[str, Any]:
    """Give a host that has just what is needed, but for these changes."""
    just_enough = {
        "architecture": "arm64",
        "cpus": 4,
        "memory_mib": 7600,
        "apparmor": True,
        "disks": [{"path": "/opt/trigger", "free_mib": 512}, {"path": "/var/lib/docker", "free_mib": 10240}],
        "own_addresses": ["127.0.0.1", "10.0.0.10"],
        "addresses": {"trigger_api_origin": reached("connected"), "trigger_registry_host": reached("refused")},
        "clock": {"asked_at": 100.0, "began_at": 100.5, "ended_at": 101.0},
    }
    assert set(changes) <= set(just_enough)
    return just_enough | changes


def reached(state: str, reason: str = "", name: str = "control.example.com", port: int = 8030) -> dict[str, Any]:
    return {"host": name, "port": port, "state": state, "reason": reason}


def problems(measured: dict[str, Any], now: float = 102.0) -> dict[str, list[str]]:
    return host_problems(measured, NEEDS, now, 5)


def test_just_enough_is_enough() -> None:
    assert problems(host()) == {"errors": [], "doubts": []}


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ([], 0),
        (["10.0.0.10"], 0),
        (["127.0.0.1", "10.0.0.11"], 1),
    ],
)
def test_a_service_cannot_listen_on_an_address_of_another_host(own: list[str], told: int) -> None:
    errors = problems(host(own_addresses=own))["errors"]
    assert len(errors) == told
    assert all("trigger_bind_address is 10.0.0.10" in each and ", ".join(own) in each for each in errors)


def test_a_disk_that_nothing_uses_may_be_full() -> None:
    full = [{"path": "/var/lib/containerd", "free_mib": 0}]
    assert problems(host(disks=full))["doubts"] == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architecture": "riscv64"}, "architecture: riscv64, there are images for amd64 and arm64 only"),
        ({"cpus": 3}, "processors: 3, needed: 4"),
        ({"memory_mib": 7599}, "memory: 7.4 GiB, needed: 7.5 GiB"),
        (
            {"disks": [{"path": "/var/lib/docker", "free_mib": 2048}]},
            "free on the disk of /var/lib/docker: 2.0 GiB, needed: 10.0 GiB",
        ),
        ({"clock": {"asked_at": 100.0, "began_at": 90.0, "ended_at": 91.0}}, "its clock is 10 s behind"),
        ({"clock": {"asked_at": 100.0, "began_at": 120.0, "ended_at": 122.0}}, "its clock is 20 s ahead of"),
        (
            {"addresses": {"trigger_api_origin": reached("timeout", "no answer within 3 s")}},
            "control.example.com:8030 (trigger_api_origin) cannot be reached from there (no answer within 3 s); "
            "where no firewall",
        ),
        ({"addresses": {"trigger_api_origin": reached("unreachable", "No route to host")}}, "(No route to host)"),
    ],
)
def test_what_may_work_all_the_same_is_a_doubt(changes: dict[str, Any], text: str) -> None:
    found = problems(host(**changes))
    assert found["errors"] == []
    assert len(found["doubts"]) == 1
    assert text in found["doubts"][0]


@pytest.mark.parametrize(("kernel", "engine", "doubts"), [(True, False, 1), (False, False, 0), (True, True, 0)])
def test_an_engine_that_leaves_apparmor_unused_is_a_doubt(kernel: bool, engine: bool, doubts: int) -> None:
    found = host_problems(host(apparmor=kernel), NEEDS | {"apparmor_used": engine}, 102.0, 5)
    assert found["errors"] == []
    assert len(found["doubts"]) == doubts
    assert all("install the package apparmor" in text for text in found["doubts"])


def test_a_name_without_an_address_is_an_error() -> None:
    addresses = {
        name: reached("unresolved", "Name or service not known", port=port)
        for name, port in (
            *(("trigger_api_origin", 8030), ("trigger_registry_host", 5000)),
            # A port that is at the host of the first, which is what there is to correct.
            ("monitoring_prometheus_port", 9095),
        )
    }
    found = problems(host(addresses=addresses))
    assert found == {
        "errors": [
            "control.example.com has no address there (Name or service not known). Set trigger_api_origin, "
            "trigger_registry_host to a name that is in the DNS which this host asks, or to an IP address"
        ],
        "doubts": [],
    }


def test_everything_that_is_missing_is_told_at_once() -> None:
    measured = host(cpus=1, memory_mib=1, architecture="ppc64le", disks=[{"path": "/opt/trigger", "free_mib": 0}])
    assert len(problems(measured)["doubts"]) == 4


@given(
    skew=st.floats(-1000, 1000),
    there=st.floats(0, 60),
    work=st.floats(0, 60),
    back=st.floats(0, 60),
)
def test_a_slow_answer_is_no_skew(skew: float, there: float, work: float, back: float) -> None:
    """What is reported is never more than what the clocks really differ by."""
    asked = 1000.0
    clock = {"asked_at": asked, "began_at": asked + there + skew, "ended_at": asked + there + work + skew}
    doubts = problems(host(clock=clock), now=asked + there + work + back)["doubts"]
    if abs(skew) <= 5:
        assert doubts == []
    if skew < -65 or skew > 65:
        assert len(doubts) == 1
        assert ("ahead" if skew > 0 else "behind") in doubts[0]


@pytest.mark.parametrize("allowed", [5, "5"])
def test_a_limit_of_the_command_line_is_text(allowed: float | str) -> None:
    clock = {"asked_at": 100.0, "began_at": 110.0, "ended_at": 110.5}
    (doubt,) = host_problems(host(clock=clock), NEEDS, 101.0, allowed)["doubts"]
    assert "its clock is 10 s ahead of the controller's, 5 s are allowed" in doubt
