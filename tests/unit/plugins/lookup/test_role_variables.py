# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible_collections.selfhosted.trigger_dev.plugins.lookup.role_variables import ROLES, LookupModule


def test_every_role_is_there_with_its_names() -> None:
    (known,) = LookupModule(loader=DataLoader()).run([])
    assert set(known) == {path.name for path in ROLES.iterdir() if path.is_dir()}
    assert {"trigger", "docker_engine", "webapp", "registry", "supervisor"} <= set(known)
    for role, names in known.items():
        assert all(name.startswith(f"{role}_") for name in names), role
    assert "webapp_port" in known["webapp"]
