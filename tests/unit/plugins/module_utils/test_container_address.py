# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._container_address import (
    container_address,
    usable,
)

ROOT = Path(__file__).parents[4]
# An address in a template, which is printed as text and not as JSON.
PRINTED = re.compile(r"\{\{[^}]*\.(IPAddress|GlobalIPv6Address|Gateway)\b[^}]*\}\}")


@pytest.mark.parametrize(
    ("code", "stdout", "address"),
    [
        (0, '[false, {"a": {"IPAddress": "172.18.0.2"}}]', "172.18.0.2"),
        (0, '[false, {"a": {"IPAddress": ""}, "b": {"IPAddress": "172.18.0.2"}}]', "172.18.0.2"),
        (0, '[false, {"a": {"IPAddress": "fd00::2"}}]', "fd00::2"),
        (0, '[true, {"a": {"IPAddress": "172.18.0.2"}}]', ""),
        (0, '[false, {"a": {"IPAddress": ""}}]', ""),
        (0, '[false, {"a": {"IPAddress": "invalid IP"}}]', ""),
        (0, '[false, {"a": {"IPAddress": null}, "b": {}}]', ""),
        (0, "[false, {}]", ""),
        (0, "[false, null]", ""),
        (1, "", ""),
    ],
)
def test_address(code: int, stdout: str, address: str) -> None:
    asked: list[Sequence[str]] = []

    def docker(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        asked.append(argv)
        return Completed(code, stdout, "no such container" if code else "")

    found, done = container_address("pg", docker)
    assert found == address
    assert done.code == code
    assert asked[0][-1] == "pg"


@pytest.mark.parametrize("text", ["", "invalid IP", "invalid", "172.18.0", "pg"])
def test_what_is_no_address(text: str) -> None:
    assert not usable(text)


def test_no_template_prints_an_address() -> None:
    """Of a stopped container it would be "invalid IP" from version 29 on, which a reader takes for an address."""
    paths = [path for folder in ("plugins", "roles", "playbooks") for path in (ROOT / folder).rglob("*.*")]
    read = [path for path in paths if path.suffix in (".py", ".yml", ".sh", ".j2") and path.is_file()]
    assert len(read) > 100
    assert [str(path) for path in read if PRINTED.search(path.read_text(encoding="utf-8"))] == []
    assert PRINTED.search("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}")
    assert not PRINTED.search("{{json .NetworkSettings.Networks}}")
