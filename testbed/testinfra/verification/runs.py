# SPDX-License-Identifier: MIT
"""Runs, as a client starts them and as the stores hold them."""

from __future__ import annotations

from typing import Any

from testbed.cluster import Cluster
from testbed.hello import TASK

from .deployment import Deployment
from .nodes import Node

# Of what the task stores (testbed/images/hello/hello.py).
PACKET_TYPE = "application/super+json"


def trigger(cluster: Cluster, key: str, **payload: Any) -> str:
    """Start a run, and do not wait for it."""
    answer = cluster.ask("POST", f"/api/v1/tasks/{TASK}/trigger", payload={"payload": payload}, bearer=key)
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


def packet(deployment: Deployment, cluster: Cluster, key: str, run: str) -> str:
    """Read the output of a run that is too large for the database, as the SDK does: with the type that it came with."""
    answer = cluster.ask("GET", f"/api/v1/packets/{run}/output.json", bearer=key)
    assert answer.status == 200, answer.body
    status, text, kind = deployment.control.download(answer.json()["presignedUrl"])
    assert status == 200, text
    assert kind == PACKET_TYPE
    return text


def clickhouse(control: Node, query: str, container: str = "trigger-webapp-trigger-clickhouse-1") -> str:
    """Ask the webapp's ClickHouse, with the user and the password that its container has."""
    script = (
        'wget -qO- --header="X-ClickHouse-User: $CLICKHOUSE_USER" --header="X-ClickHouse-Key: $CLICKHOUSE_PASSWORD" '
        '--post-data="$1" http://127.0.0.1:8123/'
    )
    return control.output("docker exec %s sh -c %s sh %s", container, script, query)
