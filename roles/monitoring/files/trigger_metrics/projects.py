# SPDX-License-Identifier: MIT
"""Projects whose containers are no longer as their files on this host say: what Compose would change of each.

That takes Compose a second. So one project a minute is compared, and only if something about it differs from the last
time, or if that was long ago.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .command import TOO_SLOW, Run
from .containers import PROJECT
from .drift import changes, comparison, deployed
from .engine import Ask
from .exposition import Sample, replace_file, warn

SECONDS = 12
# A host that was too busy for it may be less so then. It is no fault of the installation.
SLOW_AGAIN_SECONDS = 600
# An image that has another digest by now, for example, is seen by Compose alone.
AGAIN_SECONDS = 3600


class DriftError(Exception):
    """Its text says what is not known."""


def look(name: str, folder: Path, ask: Ask) -> str:
    """Give something that is another one when files or containers of a project are."""
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith((".yml", ".env")) and path.is_file()]
    stats = [(path.name, path.stat()) for path in files]
    rows = ask("/containers/json", {"all": "true", "filters": json.dumps({"label": [f"{PROJECT}={name}"]})})
    networks = {row["Id"]: sorted(row["NetworkSettings"]["Networks"] or {}) for row in rows}
    seen = [
        [(file, stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in stats],
        sorted((row["Id"], row["ImageID"], row["State"], networks[row["Id"]]) for row in rows),
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def remembered(path: Path) -> dict[str, dict[str, Any]]:
    """Read what was found before. What cannot be read is found once more."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def is_due(row: Mapping[str, Any], seen: str, now: float) -> bool:
    """Tell whether a project is to be compared, by what is known of it and by how it looks now."""
    if row.get("slow"):
        return bool(now - row["tried"] >= SLOW_AGAIN_SECONDS)
    return row.get("look") != seen or now - row["compared"] >= AGAIN_SECONDS


def projects(told: Mapping[str, str], run: Run, ask: Ask, now: float | None = None) -> Iterator[Sample]:
    """Compare the project that has waited longest for it, and tell of all."""
    now = time.time() if now is None else now
    there, state = deployed(Path(told["directory"])), Path(told["state"])
    known = {name: row for name, row in remembered(state).items() if name in there}
    looks = {name: look(name, folder, ask) for name, folder in there.items()}
    due = [name for name in there if is_due(known.get(name, {}), looks[name], now)]
    if due:
        name = min(due, key=lambda each: known.get(each, {}).get("tried", 0))
        # Without a comparison nothing is told of it: the number from before may be wrong. Stored before it begins: one
        # that is ended from outside has been too slow, and must not keep the others waiting.
        known[name] = {"tried": now, "slow": True}
        replace_file(state, json.dumps(known))
        done = run(comparison(str(there[name])), timeout=SECONDS)
        found = changes(done)
        if done.code == TOO_SLOW:
            warn(f"drift: the comparison of {name} takes more than {SECONDS} s; next try in {SLOW_AGAIN_SECONDS} s")
        else:
            known[name] = {"tried": now}
        if found is not None:
            known[name] |= {"look": looks[name], "compared": now, "changes": len(found)}
        replace_file(state, json.dumps(known))
    for name, row in known.items():
        if "changes" in row:
            yield Sample("trigger_project_changes", row["changes"], {"project": name})
    failed = [name for name, row in known.items() if not {"changes", "slow"} & {*row}]
    if failed:
        raise DriftError(f"docker compose --dry-run up fails for {', '.join(failed)}")
