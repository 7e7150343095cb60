# SPDX-License-Identifier: MIT
"""Replication slots are lost, and go missing; runs that change meanwhile reach ClickHouse afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually

from testbed.hello import Hello

pytestmark = pytest.mark.soak

WEBAPP = "trigger-webapp-webapp-1"
OTHERS = [f"trigger-webapp-trigger-{name}-1" for name in ("postgres", "redis", "clickhouse", "seaweedfs")]
SLOT = "task_runs_to_clickhouse_v1"
SLOTS = [SLOT, "electric_slot_default"]
# So often, with a pause for what reads the log: more than a slot may keep.
KEEP_MIB = 64
FILLER = "SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) FROM generate_series(1, 40)"
FILLINGS = 6


def play(deployment: Deployment, name: str, scratch: Path, *options: str) -> Play:
    values = {"webapp_postgres_max_slot_wal_keep_mib": KEEP_MIB, "webapp_replication_lag_max_mib": KEEP_MIB}
    return deployment.play(*options, values=values, scratch=scratch, playbook=f"selfhosted.trigger_dev.{name}")


def slots(deployment: Deployment) -> dict[str, str]:
    """Give the state of each slot."""
    return {
        name: "read" if active == "t" and wal != "lost" else wal
        for name, active, wal in deployment.sql("SELECT slot_name, active, wal_status FROM pg_replication_slots")
    }


def change(deployment: Deployment, run: str, name: str) -> None:
    """Change one run, and add another one that is like it."""
    columns = deployment.sql(
        "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
        "WHERE table_name = 'TaskRun' AND column_name NOT IN ('id', 'friendlyId', 'updatedAt')"
    )[0][0]
    deployment.sql(
        f"""UPDATE "TaskRun" SET status = '{name}', "updatedAt" = now() AT TIME ZONE 'UTC' """
        f"""WHERE "friendlyId" = '{run}'"""
    )
    deployment.sql(
        f"""INSERT INTO "TaskRun" (id, "friendlyId", "updatedAt", {columns}) SELECT 'c{name}', 'run_{name}', now() """
        f"""AT TIME ZONE 'UTC', {columns} FROM "TaskRun" WHERE "friendlyId" = '{run}'"""
    )


def known(control: Node, *runs: str) -> list[str]:
    """Give the states of runs as ClickHouse has them."""
    names = ", ".join(f"'{run}'" for run in runs)
    script = (
        'wget -qO- --header="X-ClickHouse-User: $CLICKHOUSE_USER" --header="X-ClickHouse-Key: $CLICKHOUSE_PASSWORD" '
        '--post-data="$1" http://127.0.0.1:8123/'
    )
    query = f"SELECT status FROM trigger_dev.task_runs_v2 FINAL WHERE friendly_id IN ({names}) FORMAT TSV"
    return control.output("docker exec trigger-webapp-trigger-clickhouse-1 sh -c %s sh %s", script, query).split()


def started(control: Node, *names: str) -> str:
    return control.output(f"docker inspect --format '{{{{.State.StartedAt}}}}' {' '.join(names)}")


@dataclass
class Story:
    """What happened; the lists are what ClickHouse knew."""

    idle: Play
    lost: dict[str, str]
    missed: list[str]
    status: Play
    dry: Play
    repaired: Play
    after: dict[str, str]
    found: list[str]
    untouched: bool
    restarted: bool
    # The slot was missing, and the webapp made it at its start.
    gap: list[str]
    filled: Play
    found_again: list[str]
    webapp_untouched: bool
    again: Play
    fresh: Any


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    scratch, control = tmp_path_factory.mktemp("replication"), deployment.control
    play(deployment, "site", scratch).went_through(deployment)
    run = hello.run().id
    deployment.sql("""DELETE FROM "TaskRun" WHERE id IN ('cCRASHED', 'cEXPIRED')""")  # of an earlier call
    assert eventually(lambda: known(control, run) == ["COMPLETED_SUCCESSFULLY"])
    idle = play(deployment, "replication_repair", scratch)

    control.output("docker stop %s", WEBAPP)
    for _ in range(FILLINGS):
        deployment.sql(FILLER)
        time.sleep(1)
    deployment.sql("CHECKPOINT")
    lost = slots(deployment)
    control.output("docker start %s", WEBAPP)
    health = "docker inspect --format '{{.State.Health.Status}}' %s"
    assert eventually(lambda: control.output(health, WEBAPP) == "healthy")
    change(deployment, run, "CRASHED")
    status = play(deployment, "status", scratch)
    dry = play(deployment, "replication_repair", scratch, "--check")
    missed, others, webapp = known(control, run, "run_CRASHED"), started(control, *OTHERS), started(control, WEBAPP)
    repaired = play(deployment, "replication_repair", scratch)
    after, found = slots(deployment), known(control, run, "run_CRASHED")
    untouched, restarted = started(control, *OTHERS) == others, started(control, WEBAPP) != webapp

    control.output("docker stop %s", WEBAPP)
    deployment.sql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    change(deployment, run, "EXPIRED")
    control.output("docker start %s", WEBAPP)
    assert eventually(lambda: slots(deployment).get(SLOT) == "read")
    gap, webapp = known(control, run, "run_EXPIRED"), started(control, WEBAPP)
    filled = play(deployment, "replication_repair", scratch)
    found_again = known(control, run, "run_EXPIRED")
    webapp_untouched = started(control, WEBAPP) == webapp
    again = play(deployment, "replication_repair", scratch)
    return Story(
        idle, lost, missed, status, dry, repaired, after, found, untouched, restarted, gap, filled, found_again,
        webapp_untouched, again, hello.run(),
    )  # fmt: skip


def test_what_is_replicated_is_left_alone(story: Story) -> None:
    for found in (story.idle, story.again):
        assert found.code == 0, found.ending()
        assert found.changes == []
        assert "Sent 0 runs to ClickHouse" in found.text


def test_status_reports_a_lost_slot_and_what_repairs_it(story: Story) -> None:
    assert story.lost[SLOT] == "lost"
    assert story.status.code != 0
    assert "is lost: the server has removed what was not read yet. The playbook replication_repair" in story.status.text


def test_a_dry_run_predicts_the_repair(story: Story) -> None:
    assert story.dry.code == 0, story.dry.ending()
    assert "Would send 2 runs to ClickHouse" in story.dry.text
    assert story.repaired.changes == story.dry.changes


def test_a_lost_slot_is_replaced_and_what_was_missed_arrives(story: Story) -> None:
    assert story.repaired.code == 0, story.repaired.ending()
    assert story.missed == ["COMPLETED_SUCCESSFULLY"]
    assert {name: story.after.get(name) for name in SLOTS} == dict.fromkeys(SLOTS, "read")
    assert story.found == ["CRASHED"] * 2


def test_only_readers_of_slots_are_restarted(story: Story) -> None:
    assert story.restarted
    assert story.untouched


def test_a_gap_behind_a_new_slot_is_filled_without_a_restart(story: Story) -> None:
    assert story.filled.code == 0, story.filled.ending()
    assert story.gap == ["CRASHED"]
    assert story.found_again == ["EXPIRED"] * 2
    assert "Sent 2 runs to ClickHouse" in story.filled.text
    assert story.webapp_untouched


def test_new_runs_are_replicated(story: Story, control: Node) -> None:
    assert story.fresh.status == "COMPLETED"
    assert eventually(lambda: known(control, story.fresh.id) == ["COMPLETED_SUCCESSFULLY"])
