# SPDX-License-Identifier: MIT
"""What is known of an installation that is adopted, and the stores of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import Engine
from .foreign import AdoptedImages, ForeignClickHouse, ForeignImages, ForeignObjects, ForeignPostgres, ForeignRedis
from .objects import Objects
from .plan import Plan, read_json, secrets_of, written_by
from .redis import Redis
from .sigv4 import Key
from .stores import Store

# The role writes it, and it goes at the end.
SOURCE = "adopt_source.json"


@dataclass(frozen=True)
class Source:
    """The old installation, as the role has read it."""

    path: str
    # Compose projects, and of the webapp's services: its own container, and those that call it.
    projects: Sequence[str]
    webapp: str
    readers: Sequence[str]
    # Store -> what is peculiar to it. Some hold passwords.
    stores: Mapping[str, Mapping[str, Any]]
    # How names of task images begin, before and after.
    references: Mapping[str, str]
    group: str
    token_path: str
    token_file: str
    # Whether runs that are in progress may be interrupted.
    interrupt: bool = False


NOTHING = Source("", (), "", (), {}, {}, "", "", "")


def source_of(path: Path) -> Source:
    """Read it; what an adoption is finished or taken back with, does not need it."""
    return Source(**read_json(path, written_by("adopt"))) if path.exists() else NOTHING


def old_stores(engine: Engine, source: Source) -> dict[str, Any]:
    """Give the stores of the old installation."""
    known: dict[str, Any] = {
        "postgres": lambda row: ForeignPostgres(engine, {"slots": [], **row}),
        "redis": lambda row: ForeignRedis(engine, row),
        "clickhouse": lambda row: ForeignClickHouse(engine, row, row["password"], row["database"]),
        "objects": lambda row: ForeignObjects(engine, row),
        "images": lambda row: ForeignImages(engine, row),
    }
    return {name: make(source.stores[name]) for name, make in known.items() if name in source.stores}


def new_stores(engine: Engine, source: Source, plan: Plan) -> list[Store]:
    """Give those of the new one that get something."""
    given = secrets_of(plan.secrets_file)
    known: dict[str, Any] = {
        "postgres": lambda row: ForeignPostgres(engine, row),
        "redis": lambda row: Redis(engine, row),
        "clickhouse": lambda row: ForeignClickHouse(engine, row, given["clickhouse_password"]),
        "objects": lambda row: Objects(
            engine, row, Key(given["object_store_access_key"], given["object_store_secret_key"])
        ),
        "images": lambda row: AdoptedImages(engine, row),
    }
    return [make(plan.stores[name]) for name, make in known.items() if name in source.stores]
