# SPDX-License-Identifier: MIT
"""Grafana's dashboards of the role monitoring, from the rows of dashboards.yml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).with_name("dashboards.yml")
FOLDER = Path("roles/monitoring/files/dashboards")
COLUMNS, WIDTH, HEIGHT = 24, 8, 8
TAG = "trigger.dev"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'host=~"$host"'
YES_NO = {
    "type": "value",
    "options": {
        "0": {"text": "NO", "color": "red", "index": 0},
        "1": {"text": "yes", "color": "green", "index": 1},
    },
}
# Columns of a table that tell nothing.
HIDDEN = ("Time", "Value", "__name__", "alertstate", "instance", "job")

Row = Mapping[str, Any]


def expression(text: str) -> str:
    """Put in the choice of hosts: {host} alone, or before further labels."""
    return " ".join(text.replace("{host}", f"{{{CHOSEN}}}").replace("{host,", f"{{{CHOSEN},").split())


def targets(panel: Row) -> list[dict[str, Any]]:
    at_once = {"instant": True, "range": False} if panel.get("type") in ("stat", "table") else {"range": True}
    as_table = {"format": "table"} if panel.get("type") == "table" else {}
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "expr": expression(text),
            "legendFormat": legend,
            **at_once,
            **as_table,
        }
        for number, (legend, text) in enumerate(panel["of"].items())
    ]


def field_defaults(panel: Row) -> dict[str, Any]:
    unit = panel.get("unit", "short")
    if unit == "yes_no":
        return {"unit": "none", "mappings": [YES_NO]}
    found: dict[str, Any] = {"unit": unit}
    if unit != "none" and panel.get("type", "timeseries") == "timeseries" and "wrong" not in panel["title"]:
        found["min"] = 0
    if "steps" in panel:
        steps = [{"value": value or None, "color": color} for value, color in panel["steps"].items()]
        found |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    return found


def options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
    return {"showHeader": True}


def panels(rows: Mapping[str, list[Row]]) -> Iterator[dict[str, Any]]:
    """Place panels from left to right, and each row of them below its title."""
    number, top = 1, 0
    for title, listed in rows.items():
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        number, top, left = number + 1, top + 1, 0
        for panel in listed:
            width, kind = panel.get("width", WIDTH), panel.get("type", "timeseries")
            if left + width > COLUMNS:
                left, top = 0, top + HEIGHT
            drawn: dict[str, Any] = {
                "id": number,
                "type": kind,
                "title": panel["title"],
                "datasource": DATASOURCE,
                "gridPos": {"x": left, "y": top, "w": width, "h": HEIGHT},
                "targets": targets(panel),
                "fieldConfig": {"defaults": field_defaults(panel), "overrides": []},
                "options": options(kind),
            }
            if "about" in panel:
                drawn["description"] = panel["about"]
            if kind == "table":
                hidden = {"excludeByName": dict.fromkeys(HIDDEN, True)}
                drawn["transformations"] = [{"id": "organize", "options": hidden}]
            yield drawn
            number, left = number + 1, left + width
        top += HEIGHT


def variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
        {
            "name": "host",
            "label": "Host",
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": "label_values(trigger_info, host)", "refId": "host"},
            "definition": "label_values(trigger_info, host)",
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def dashboard(name: str, row: Row) -> dict[str, Any]:
    link = {"title": "Trigger.dev", "type": "dashboards", "tags": [TAG], "asDropdown": True, "keepTime": True}
    return {
        "uid": f"trigger-{name}",
        "title": f"Trigger.dev: {row['title']}",
        "description": row["about"],
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": False,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables()},
        "links": [{**link, "includeVars": True}],
        "panels": list(panels(row["rows"])),
    }


def generated(root: Path) -> dict[Path, str]:
    """Path -> content of each dashboard."""
    rows = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return {
        root / FOLDER / f"{name}.json": json.dumps(dashboard(name, row), indent=2) + "\n" for name, row in rows.items()
    }
