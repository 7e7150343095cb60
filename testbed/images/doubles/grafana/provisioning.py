# SPDX-License-Identifier: MIT
"""What Grafana reads at its start: its environment, data sources, providers of dashboards, and dashboards.

Known of the genuine program, from its documentation: the names and places of these files, `$__file{}` in them, the
suffix `__FILE` of variables, that the first start sets the password of the admin, that a data source needs name, type
and access, that two may not share a name or a uid, that only one can be the default, and that a dashboard needs a title
and has a uid of at most 40 characters of its own. Not known, and so not played: which panels its front end can draw.
The genuine one logs a dashboard that it cannot read and goes on without it. This one ends, so that a test notices it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DATASOURCE_KEYS = {
    *("name", "uid", "type", "access", "url", "isDefault", "editable", "basicAuth", "basicAuthUser", "jsonData"),
    *("secureJsonData", "orgId", "user", "database", "version", "withCredentials"),
}
PROVIDER_KEYS = {
    *(
        "name",
        "orgId",
        "folder",
        "folderUid",
        "type",
        "disableDeletion",
        "updateIntervalSeconds",
        "allowUiUpdates",
        "options",
    )
}
PANELS = {
    "timeseries",
    "stat",
    "gauge",
    "bargauge",
    "table",
    "text",
    "row",
    "alertlist",
    "state-timeline",
    "heatmap",
    "piechart",
    "logs",
    "barchart",
    "status-history",
    "histogram",
}
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class ProvisioningError(Exception):
    """Something that Grafana would not take."""


@dataclass(frozen=True)
class Provisioned:
    """Everything that was read: rows by their uid."""

    datasources: Mapping[str, Mapping[str, Any]]
    dashboards: Mapping[str, Mapping[str, Any]]
    # uid of a dashboard -> its folder.
    folders: Mapping[str, str]


def expand(value: Any) -> Any:
    """Replace `$__file{path}` as Grafana does, which takes blanks around the content away."""
    if isinstance(value, dict):
        return {key: expand(each) for key, each in value.items()}
    if isinstance(value, list):
        return [expand(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"\$__file\{([^}]*)\}", lambda found: Path(found[1]).read_text().strip(), value)
    return value


def documents(folder: Path, key: str) -> Iterable[Mapping[str, Any]]:
    for path in sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")]):
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict) or document.get("apiVersion") != 1 or set(document) - {"apiVersion", key}:
            raise ProvisioningError(f"{path}: needs apiVersion 1 and {key}, and nothing else")
        yield from document.get(key) or []


def datasources(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in map(expand, documents(folder, "datasources")):
        if unknown := set(row) - DATASOURCE_KEYS:
            raise ProvisioningError(f"data source {row.get('name')}: unknown {sorted(unknown)}")
        if missing := {"name", "type", "access", "uid"} - set(row):
            raise ProvisioningError(f"data source {row.get('name')}: {sorted(missing)} missing")
        if row["uid"] in found or row["name"] in {each["name"] for each in found.values()}:
            raise ProvisioningError(f"data source {row['name']}: name or uid twice")
        found[row["uid"]] = dict(row)
    if len([row for row in found.values() if row.get("isDefault")]) > 1:
        raise ProvisioningError("only one data source can be marked as default")
    return found


def references(value: Any) -> Iterable[Mapping[str, Any]]:
    """Give each reference to a data source, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("datasource"), dict):
            yield value["datasource"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def check_dashboard(name: str, board: Any, sources: Mapping[str, Mapping[str, Any]]) -> None:
    if not isinstance(board, dict) or not board.get("title"):
        raise ProvisioningError(f"{name}: a dashboard needs a title")
    if not UID.fullmatch(str(board.get("uid", ""))):
        raise ProvisioningError(f"{name}: a dashboard needs a uid of at most 40 letters, digits, - and _")
    if not isinstance(board.get("schemaVersion"), int):
        raise ProvisioningError(f"{name}: schemaVersion must be a number")
    seen: set[int] = set()
    for panel in board.get("panels", []):
        if panel.get("type") not in PANELS:
            raise ProvisioningError(f"{name}: there is no panel of the type {panel.get('type')}")
        if panel.get("id") in seen:
            raise ProvisioningError(f"{name}: two panels with the id {panel.get('id')}")
        seen.add(panel.get("id"))
    variables = {f"${{{row['name']}}}" for row in board.get("templating", {}).get("list", [])}
    for reference in references(board):
        uid = reference.get("uid")
        if uid not in {*sources, *variables, "-- Grafana --", "-- Mixed --", "grafana"}:
            raise ProvisioningError(f"{name}: there is no data source {uid}")


def load(folder: Path) -> Provisioned:
    """Read everything, or say what Grafana would not take."""
    sources = datasources(folder / "datasources")
    boards: dict[str, dict[str, Any]] = {}
    folders: dict[str, str] = {}
    for row in documents(folder / "dashboards", "providers"):
        if unknown := set(row) - PROVIDER_KEYS:
            raise ProvisioningError(f"provider {row.get('name')}: unknown {sorted(unknown)}")
        if row.get("type", "file") != "file" or not row.get("name") or "path" not in row.get("options", {}):
            raise ProvisioningError(f"provider {row.get('name')}: needs a name, the type file and options.path")
        place = Path(row["options"]["path"])
        if not place.is_dir():
            raise ProvisioningError(f"provider {row['name']}: {place} does not exist")
        for path in sorted(place.glob("**/*.json")):
            board = json.loads(path.read_text())
            check_dashboard(path.name, board, sources)
            if board["uid"] in boards:
                raise ProvisioningError(f"{path.name}: the uid {board['uid']} twice")
            boards[board["uid"]] = board
            folders[board["uid"]] = row.get("folder", "")
    return Provisioned(sources, boards, folders)
