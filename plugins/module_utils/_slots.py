# SPDX-License-Identifier: MIT
"""What the database tells of replication slots. The program of the role `monitoring` reads them, too."""

from __future__ import annotations

# What the server has to keep begins where the slot would restart; that is what fills the disk.
QUERY = """
SELECT slot_name AS name, active, wal_status AS wal,
  pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS lag
FROM pg_replication_slots WHERE database = current_database()
"""
