# SPDX-License-Identifier: MIT
"""Prometheus and Alertmanager of a host, as its operators ask them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from verification.nodes import Node

PROMETHEUS = "http://127.0.0.1:9095"
PROJECT = "trigger-monitoring"


@dataclass(frozen=True)
class Watcher:
    """Monitoring on a host."""

    control: Node

    def ask(self, path: str, user: str = "admin", password_of: str = "monitoring_password") -> Any:
        """Ask Prometheus."""
        status, body = self.control.http(f"{PROMETHEUS}/api/v1/{path}", user=user, password_of=password_of)
        assert status == 200, body
        return json.loads(body)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression."""
        found: list[dict[str, Any]] = self.ask(f"query?query={quote(expression)}")["result"]
        return found

    def containers(self) -> dict[str, dict[str, Any]]:
        """Its containers as the engine describes them, by their service."""
        found = self.control.facts()["containers"].values()
        ours = [row for row in found if row["Config"]["Labels"].get("com.docker.compose.project") == PROJECT]
        return {row["Config"]["Labels"]["com.docker.compose.service"]: row for row in ours}

    @cached_property
    def _alertmanager(self) -> str:
        """Its address: it is published nowhere."""
        networks = self.containers()["alertmanager"]["NetworkSettings"]["Networks"]
        return f"http://{networks[PROJECT]['IPAddress']}:9093"

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """Give the labels of the alerts that fire, as each of the two knows them."""
        status, body = self.control.http(f"{self._alertmanager}/api/v2/alerts")
        assert status == 200, body
        return {
            "Prometheus": [row["labels"] for row in self.ask("alerts")["alerts"] if row["state"] == "firing"],
            "Alertmanager": [row["labels"] for row in json.loads(body)],
        }
