# SPDX-License-Identifier: MIT
"""Nodes are alike in all scenarios, and the lab's scenario, inventory and code agree."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from testbed import images, lab, scenario
from testbed.common import ROOT, TESTBED

# What a scenario may say of a host: identity, role, addresses, ssh keys of the lab. The rest: testbed/nodes/node.yml.
OWN = {"name", "groups", "image", "published_ports", "docker_networks", "networks", "volumes"}


def platforms(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "molecule" / name / "molecule.yml").read_text()
    found: list[dict[str, Any]] = yaml.safe_load(text)["platforms"]
    return found


def test_nodes_are_set_up_alike() -> None:
    for name in scenario.SCENARIOS:
        for node in platforms(name):
            assert set(node) <= OWN, node["name"]
    options = yaml.safe_load((TESTBED / "nodes/node.yml").read_text())["node_options"]
    assert "privileged" not in options
    assert "SYS_RESOURCE" not in options["capabilities"]
    (create,) = yaml.safe_load((TESTBED / "create.yml").read_text())
    (container,) = (
        task["community.docker.docker_container"]
        for task in create["tasks"]
        if "community.docker.docker_container" in task
    )
    for option in options:
        assert f"node_options.{option}" in container[option]


@pytest.mark.parametrize("name", scenario.SCENARIOS)
def test_hosts_and_networks_are_named_after_their_scenario(name: str) -> None:
    created = {f"trigger-{name}"}
    for node in platforms(name):
        # A host's name has no underscores.
        assert node["name"].endswith("." + name.partition("_")[0])
        assert node["image"] in {f"{images.NODE}:{kind}" for kind in images.NODES}
        created |= {row["name"] for row in node.get("docker_networks", [])}
    assert all(row == f"trigger-{name}" or row.startswith(f"trigger-{name}-") for row in created)
    for node in platforms(name):
        for network in node.get("networks", []):
            assert network["name"] in created
            # More names are those of services, never one of a host.
            assert not set(network.get("aliases", [])) & {other["name"] for other in platforms(name)}


@pytest.mark.parametrize("name", scenario.SOAKS)
def test_a_soak_finds_what_tests_of_scenarios_share(name: str) -> None:
    """It names the folder of the scenario alone; Molecule names the one of the testbed, too."""
    conftest = ROOT / "molecule" / name / "tests/conftest.py"
    assert '"verification.plugin"' in conftest.read_text()


@pytest.mark.parametrize("name", scenario.SCENARIOS)
def test_nothing_is_published_beyond_the_loopback(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for node in platforms(name) for port in node.get("published_ports", []))


def test_lab_and_cluster_have_the_same_kinds_of_hosts() -> None:
    kinds = [
        {node["name"].partition(".")[0]: (node["image"], node["groups"]) for node in platforms(name)}
        for name in ("lab", "cluster")
    ]
    assert kinds[0] == kinds[1]


def test_the_inventory_reaches_the_hosts_of_the_scenario() -> None:
    groups = yaml.safe_load((ROOT / "inventories" / "lab" / "hosts.yml").read_text())["all"]["children"]
    for name, node in lab.platforms().items():
        host = name.partition(".")[0]
        ((group),) = node["groups"]
        assert groups[group]["hosts"][host]["ansible_port"] == lab.ports(node)[22]
    assert {host for group in groups.values() for host in group["hosts"]} == {
        name.partition(".")[0] for name in lab.platforms()
    }


def test_expected_instances_are_the_workers() -> None:
    assert lab.expected() == {"worker1", "worker2"}


def test_host_keys_are_checked_everywhere() -> None:
    for file in ("ansible.cfg", ".config/molecule/config.yml", "inventories/lab/group_vars/all.yml"):
        text = (ROOT / file).read_text()
        assert "StrictHostKeyChecking=no" not in text
        assert "host_key_checking: false" not in text.lower()
        assert "host_key_checking = false" not in text.lower()
    assert "StrictHostKeyChecking=yes" in (ROOT / "inventories/lab/group_vars/all.yml").read_text()
