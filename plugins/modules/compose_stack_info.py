# SPDX-License-Identifier: MIT
"""Module compose_stack_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_stack_info
version_added: 0.1.0
short_description: Read an installation that was started with Docker Compose by other means
description:
  - Reads the containers that Docker Compose has made from files in a folder, and the C(.env) files there.
  - It changes nothing.
  - What a container was started with counts, not what its Compose file would say today.
  - The module returns secrets, so the result is hidden as with C(no_log). An error is shown.
options:
  path:
    description: Folder of the Compose files, or one above it.
    type: path
    required: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes.info
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Read the old installation
  selfhosted.trigger_dev.compose_stack_info:
    path: /opt/trigger-dev
  register: old_stack
"""

RETURN = r"""
compose_stack:
  description: What was found.
  returned: success
  type: dict
  contains:
    projects:
      description: Names of the Compose projects.
      type: list
      elements: str
      returned: success
    containers:
      description: >-
        Each container with V(name), V(project), V(service), V(image), V(running) and V(networks). V(mounts) has
        destinations and folders of the host. V(given) names what of V(environment) its image does not bring.
      type: list
      elements: dict
      returned: success
    variables:
      description: What the C(.env) files set.
      type: dict
      returned: success
    postgres:
      description: What the running database tells, V(version) and V(workers) (those of the last two minutes).
      type: dict
      returned: success
    runs:
      description: Names of the containers of runs.
      type: list
      elements: str
      returned: success
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run, run

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
FOLDER, FILES = "com.docker.compose.project.working_dir", "com.docker.compose.project.config_files"
LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
POSTGRES = re.compile(r"(trigger-)?postgres")
WORKERS = (
    'SELECT name FROM "WorkerInstance" '
    "WHERE \"lastHeartbeatAt\" > now() AT TIME ZONE 'UTC' - interval '2 minutes' ORDER BY 1"
)


class StackError(Exception):
    """Why nothing can be read; a sentence without a secret."""


def ask(runner: Run, *words: str) -> str:
    done = runner(words)
    if done.code != 0:
        raise StackError(f"{' '.join(words[:3])} failed: {done.error[:300]}")
    return done.stdout


def inspected(runner: Run, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ask(runner, "docker", kind, "inspect", *names)) if names else []
    return found


def assignments(text: str) -> dict[str, str]:
    """Read a .env file as Compose does, as far as its values have no expressions."""
    found = {}
    for line in text.splitlines():
        matched = LINE.fullmatch(line.strip())
        if matched:
            value = matched[2].strip()
            quoted = re.match(r"""(["'])(.*?)\1(\s+#.*)?\Z""", value)
            found[matched[1]] = quoted[2] if quoted else re.sub(r"\s+#.*", "", value)
    return found


def is_below(folder: str, path: Path) -> bool:
    return bool(folder) and (Path(folder) == path or path in Path(folder).parents)


def places(labels: Mapping[str, str]) -> list[str]:
    """Give the folders that a container was made from."""
    files = [str(Path(name).parent) for name in labels.get(FILES, "").split(",") if name]
    return [labels.get(FOLDER, ""), *files]


def environment(pairs: Sequence[str] | None) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in pairs or [] if "=" in pair)


def image_environment(text: str) -> dict[str, str]:
    """Read the environment of an image. Engines from 29 on leave out what is empty there."""
    return environment((json.loads(text)[0].get("Config") or {}).get("Env"))


def container(row: Mapping[str, Any], of_image: Mapping[str, str]) -> dict[str, Any]:
    """Give what matters of a container."""
    labels, own = row["Config"]["Labels"] or {}, environment(row["Config"].get("Env"))
    return {
        "name": row["Name"].lstrip("/"),
        "project": labels[PROJECT],
        "service": labels.get(SERVICE, ""),
        "image": row["Config"]["Image"],
        "running": bool(row["State"]["Running"]),
        "networks": sorted(row["NetworkSettings"]["Networks"] or {}),
        "mounts": {mount["Destination"]: mount["Source"] for mount in row["Mounts"]},
        "environment": own,
        "given": sorted(name for name, value in own.items() if of_image.get(name) != value),
    }


def read(path: str, runner: Run) -> dict[str, Any]:
    """Find the projects of a folder, and read all of their containers."""
    ids = ask(runner, "docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={PROJECT}").split()
    rows = inspected(runner, "container", ids)
    folder = Path(path).resolve()
    projects = {
        row["Config"]["Labels"][PROJECT]
        for row in rows
        if any(is_below(place, folder) for place in places(row["Config"]["Labels"]))
    }
    rows = [row for row in rows if row["Config"]["Labels"][PROJECT] in projects]
    images = {}
    for row in rows:
        if row["Image"] not in images:
            done = runner(["docker", "image", "inspect", row["Image"]])
            images[row["Image"]] = image_environment(done.stdout) if done.code == 0 else {}
    containers = sorted((container(row, images[row["Image"]]) for row in rows), key=lambda each: str(each["name"]))
    folders = {str(folder), *(place for row in rows for place in places(row["Config"]["Labels"]) if place)}
    folders |= {str(Path(place).parent) for place in folders if is_below(str(Path(place).parent), folder)}
    variables: dict[str, str] = {}
    for place in sorted(folders, reverse=True):
        if (Path(place) / ".env").is_file():
            variables |= assignments((Path(place) / ".env").read_text(encoding="utf-8", errors="replace"))
    runs = ask(runner, "docker", "ps", "--filter", "name=^runner-", "--format", "{{.Names}}").split()
    return {
        "projects": sorted(projects),
        "containers": containers,
        "variables": variables,
        "postgres": postgres(containers, runner),
        "runs": runs,
    }


def postgres(containers: Sequence[Mapping[str, Any]], runner: Run) -> dict[str, Any]:
    """Ask the database, if it runs; any fault is found by those who read its data."""
    found: dict[str, Any] = {}
    for row in containers:
        if POSTGRES.fullmatch(row["service"]) and row["running"]:
            user = row["environment"].get("POSTGRES_USER") or "postgres"
            webapps = [each["environment"] for each in containers if each["service"] == "webapp"]
            url = webapps[0].get("DATABASE_URL", "") if webapps else ""
            database = re.sub(r".*/([^/?]*)(\?.*)?\Z", r"\1", url) or "postgres"
            words = ["docker", "exec", row["name"], "psql", "-XqAt", "-U", user, "-d"]
            version = runner([*words, "postgres", "-c", "SHOW server_version"])
            workers = runner([*words, database, "-c", WORKERS])
            found["version"] = version.stdout.strip() if version.code == 0 else ""
            found["workers"] = workers.stdout.split("\n")[:-1] if workers.code == 0 else []
    return found


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        found = read(module.params["path"], run)
    except StackError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(changed=False, compose_stack=found)


if __name__ == "__main__":
    main()
