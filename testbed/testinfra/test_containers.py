# SPDX-License-Identifier: MIT
"""Containers, networks and volumes: exactly those of the design, with no right that they need not."""

from __future__ import annotations

from typing import Any

from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node


def test_exactly_our_containers_run(node: Node) -> None:
    assert set(node.seen["containers"]) == set(node.expected)


def test_containers_are_healthy_and_never_restarted(node: Node) -> None:
    for name in node.expected:
        found = node.container(name)
        assert found["State"]["Status"] == "running", name
        assert found["State"]["Health"]["Status"] == "healthy", name
        assert found["RestartCount"] == 0, name
        assert not found["State"]["OOMKilled"], name


def test_processes_run_as_their_own_user_and_without_rights(node: Node) -> None:
    """What the kernel says about the first process of each container."""
    for name, row in node.expected.items():
        process = node.seen["processes"][name]
        assert {int(uid) for uid in process["Uid"].split()} == {row.uid}, name
        for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(process[capabilities], 16) == 0, f"{name} {capabilities}"
        assert int(process["CapBnd"], 16) == sum(1 << number for number in row.capabilities.values()), name
        assert process["NoNewPrivs"].strip() == "1", name


def test_containers_ask_for_no_right(node: Node) -> None:
    for name, row in node.expected.items():
        settings = node.container(name)["HostConfig"]
        assert settings["Privileged"] is False, name
        assert settings["CapDrop"] == ["ALL"], name
        assert set(settings["CapAdd"] or []) == set(row.capabilities), name
        assert "no-new-privileges:true" in settings["SecurityOpt"], name
        assert not [option for option in settings["SecurityOpt"] if "unconfined" in option], name
        assert not settings["Devices"], name
        assert not settings["PidMode"], name
        assert settings["IpcMode"] in ("private", "shareable"), name
        assert settings["NetworkMode"] not in ("host", "default", "bridge"), name


def test_no_container_leads_from_tasks_into_other_networks(node: Node) -> None:
    """A task that is root could send packets by way of the supervisor, past the firewall."""
    for name, row in node.expected.items():
        if any(network.startswith("trigger-runner") for network in row.networks):
            assert node.output("docker exec %s cat /proc/sys/net/ipv4/ip_forward", name) == "0", name


def test_containers_come_back_and_do_not_fill_the_disk(node: Node) -> None:
    for name in node.expected:
        settings = node.container(name)["HostConfig"]
        assert settings["RestartPolicy"]["Name"] == "unless-stopped", name
        assert settings["LogConfig"]["Type"] == "json-file", name
        assert settings["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, name
        assert 0 < settings["Memory"] <= node.seen["info"]["MemTotal"], name
        assert settings["MemorySwap"] == settings["Memory"], name
        assert 0 < settings["PidsLimit"] <= 4096, name
        assert 0 < settings["NanoCpus"] <= node.seen["info"]["NCPU"] * 10**9, name


def test_everything_of_ours_is_labelled(node: Node) -> None:
    for name, row in node.expected.items():
        labels = node.container(name)["Config"]["Labels"]
        assert labels[expected.LABEL] == row.project.removeprefix("trigger-"), name
        for network in row.networks:
            assert expected.LABEL in node.seen["networks"][network]["Labels"], network
    for group in node.groups:
        for volume in expected.VOLUMES[group]:
            assert expected.LABEL in node.seen["volumes"][volume]["Labels"], volume


def test_only_the_proxy_holds_the_socket(node: Node) -> None:
    holders = {
        name
        for name, found in node.seen["containers"].items()
        if any(
            "docker.sock" in mount.get("Source", "") or mount.get("Source") in ("/", "/run", "/var/run")
            for mount in found["Mounts"]
        )
    }
    assert holders == {name for name, row in node.expected.items() if row.holds_socket}


def test_volumes_are_named_and_none_is_lost(node: Node) -> None:
    """An anonymous volume would hold data that the next `compose up` does not find."""
    assert set(node.seen["volumes"]) == set().union(*(expected.VOLUMES[group] for group in node.groups))


def members(node: Node) -> dict[str, set[str]]:
    """Give the containers of each network of ours."""
    return {
        name: {container["Name"] for container in found["Containers"].values()}
        for name, found in node.seen["networks"].items()
        if name not in ("bridge", "host", "none")
    }


def test_networks_hold_exactly_their_members(node: Node) -> None:
    designed: dict[str, set[str]] = {}
    for name, row in node.expected.items():
        for network in row.networks:
            designed.setdefault(network, set()).add(name)
    assert members(node) == designed


def test_inner_networks_have_no_way_out(node: Node) -> None:
    found: dict[str, dict[str, Any]] = node.seen["networks"]
    ours = set(members(node))
    assert {name for name in ours if found[name]["Internal"]} == ours & expected.INTERNAL_NETWORKS


def test_the_control_stack_is_complete(deployment: Deployment) -> None:
    """Guards the tests above: a host without groups would be expected to be empty."""
    assert len(deployment.control.expected) >= 7
    assert deployment.workers
    assert all(node.groups for node in deployment.nodes) or deployment.gateway
