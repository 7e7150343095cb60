# SPDX-License-Identifier: MIT
"""Filter env_files: the environment files of a Compose project."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ansible_collections.selfhosted.trigger_dev.plugins.filter.dotenv import dotenv

Environments = Mapping[str, Mapping[str, object]]


def env_files(
    environments: Environments,
    services: Collection[str],
    extra: Environments | None = None,
    header: str = "",
    allow_empty: Collection[str] = (),
) -> list[dict[str, str]]:
    """Give path and content of <service>.env for each of the services that has an environment."""
    more = extra or {}
    files = []
    for service in services:
        if service not in environments and service not in more:
            continue
        own = environments.get(service, {})
        kept = {name: value for name, value in own.items() if value != "" or name in allow_empty}
        merged = {**kept, **more.get(service, {})}
        content = dotenv(merged, header=header, allow_empty=allow_empty, where=f"environment of {service}")
        files.append({"path": f"{service}.env", "content": content})
    return files


class FilterModule:
    def filters(self) -> dict[str, Callable[..., object]]:
        return {"env_files": env_files}
