# SPDX-License-Identifier: MIT
"""From one worker to four, and back, with runs going on all the time: nobody else is touched, and no run is lost.

One story, told in order: each test begins with what the one before has left.
"""

from __future__ import annotations

import json
import time
from functools import partial

from story import CONTROL, FIRST, FOURTH, PROXY, SECOND, SUPERVISOR, THIRD, Story, inventory
from traffic import Entry, Traffic, ended, history, ledger
from verification import expected
from verification.deployment import State, differences
from verification.nodes import eventually
from verification.outage import outages
from verification.secrets import leaks

from testbed.cluster import WEBAPP, http
from testbed.common import docker

RUNNERS = "docker ps --no-trunc --quiet --filter name=^runner-"
NAMED_RUNNERS = "docker ps --no-trunc --filter name=^runner- --format '{{.ID}} {{.Names}}'"
# What a run may take in all: its sleep, a place in the queue, one attempt in vain.
PATIENCE_SECONDS = 600


def untouched(before: State, after: State, *names: str) -> None:
    """See that nothing has changed on these hosts."""
    assert [line for line in differences(before, after) if line.partition(":")[0] in names] == []


def at_work(story: Story, traffic: Traffic, name: str, sleep: int = 25) -> set[str]:
    """Trigger runs of this length until this worker has got one of them, and give their containers.

    Those of the ordinary traffic do not count: they are shorter.
    Of all open requests for work the oldest is served: where those of two workers began together, the ordinary traffic
    may go past one of them for minutes.
    """
    runs: set[str] = set()
    found: set[str] = set()

    def has_got_some() -> bool:
        runs.add(traffic.trigger({"sleep": sleep}))
        time.sleep(1)
        for line in story.node(name).output(NAMED_RUNNERS).splitlines():
            container, runner = line.split()
            if runner.replace("runner-", "run_", 1) in runs:
                found.add(container)
        return bool(found)

    return found if eventually(has_got_some) else set()


def test_three_more_join_and_nobody_else_is_touched(story: Story, traffic: Traffic) -> None:
    """New lines in the inventory and --limit: the others are asked for token and secrets, and left alone."""
    before = story.deployment.state()
    play = story.play("--limit", ",".join((SECOND, THIRD, FOURTH)))
    assert play.code == 0, play.ending()
    assert {name for name, count in play.changed.items() if count} == {SECOND, THIRD, FOURTH}
    untouched(before, story.deployment.state(), CONTROL, FIRST)
    assert set(story.ages()) == {FIRST, SECOND, THIRD, FOURTH}
    assert play.output.count("Read the token of each worker group") == 1, "the token is read once"


def test_a_whole_run_finds_nothing_to_do(story: Story, traffic: Traffic) -> None:
    before = story.deployment.state()
    play = story.play()
    assert play.code == 0, play.ending()
    assert play.changes == []
    untouched(before, story.deployment.state(), CONTROL, FIRST, SECOND, THIRD, FOURTH)


def test_a_change_rolls_through_the_workers_one_after_the_other(story: Story, traffic: Traffic) -> None:
    before = {name: story.since(name) for name in (FIRST, SECOND, THIRD, FOURTH)}
    entries = partial(ledger, story.deployment, traffic.began)
    assert eventually(lambda: any(entry.status == "EXECUTING" for entry in entries())), "there is nothing to lose"
    story.settings["supervisor_dequeue_idle_interval_ms"] = 900
    began = time.time()
    play = story.play()
    assert play.code == 0, play.ending()
    assert len({story.since(name) for name in before} & set(before.values())) == 0, "a worker kept its old settings"
    # Four batches of one worker each, and each hears of the next only when the one before is running.
    assert play.output.count("PLAY [Update the running workers in batches]") == 4
    assert not play.changed[CONTROL]
    # Workers ask all the time, so there is always a request to end.
    released = [change for change in play.changes if change.endswith("End dequeue requests without a client")]
    assert len(released) == 4, play.changes
    traffic.rolled = (began, time.time())


def test_a_new_token_reaches_every_worker_and_the_old_one_is_refused(story: Story, traffic: Traffic) -> None:
    old = story.node(CONTROL).read(expected.TOKEN_FILE)
    secrets = story.deployment.secrets()
    with outages(traffic.cluster.webapp) as away:
        play = story.play(playbook="worker_token_rotate", supervisor_serial="50%")
    assert play.code == 0, play.ending()
    # The webapp is restarted twice: so that the old token holds while workers are moved, and so that it is refused.
    # A stop that waits for the connections of workers would take more than 60 s.
    assert away.seconds
    assert away.longest < 50, away
    new = story.node(CONTROL).read(expected.TOKEN_FILE)
    rotated = new != old
    assert rotated, "the token is still the old one"
    assert leaks(play.output, secrets.and_also(new_token=new)) == set()
    for name in (FIRST, SECOND, THIRD, FOURTH):
        has = f'TRIGGER_WORKER_TOKEN="{new}"' in story.node(name).read(
            f"{expected.DIRECTORY}/supervisor/supervisor.env"
        )
        assert has, f"{name} has not got the new token"
    secret = json.loads(story.node(CONTROL).read(expected.SECRETS_FILE))["managed_worker_secret"]

    def connect(token: str) -> int:
        answer = http(
            "POST",
            f"{traffic.cluster.webapp}/engine/v1/worker-actions/connect",
            payload={"metadata": {}},
            bearer=token,
            headers={"x-trigger-worker-instance-name": FIRST, "x-trigger-worker-managed-secret": secret},
        )
        return answer.status

    assert connect(new) == 200
    assert connect(old) == 401
    assert story.play(playbook="workers").changes == []


def test_a_drained_worker_keeps_its_runs_and_takes_no_more(story: Story, traffic: Traffic) -> None:
    assert at_work(story, traffic, FOURTH), "there is nothing to wait for"
    play = story.play(playbook="worker_drain", worker_hosts=FOURTH)
    assert play.code == 0, play.ending()
    assert story.node(FOURTH).output(RUNNERS) == ""
    began = time.time()
    time.sleep(12)
    assert [entry for entry in ledger(story.deployment, began) if FOURTH in entry.workers | entry.takers] == []


def test_a_drain_that_takes_too_long_stops_nothing(story: Story, traffic: Traffic) -> None:
    # Longer than a play takes until it waits, also on a machine that has other things to do.
    long = at_work(story, traffic, THIRD, sleep=120)
    assert long, "there is nothing to wait for"
    play = story.play(playbook="worker_drain", worker_hosts=THIRD, supervisor_drain_timeout_seconds=5)
    assert play.code != 0
    assert "still in progress" in play.message
    assert "runner-" in play.message
    assert long & set(story.node(THIRD).output("docker ps --no-trunc --quiet").split()), "runs were stopped"
    # The next run of site has both take runs again.
    assert story.play(playbook="workers", supervisor_serial="100%").code == 0
    for name in (THIRD, FOURTH):
        assert 'TRIGGER_DEQUEUE_ENABLED="true"' in story.node(name).read(
            f"{expected.DIRECTORY}/supervisor/supervisor.env"
        )


def test_a_worker_is_taken_away(story: Story, traffic: Traffic) -> None:
    before = story.deployment.state()
    play = story.play(playbook="worker_remove", worker_hosts=FOURTH)
    assert play.code == 0, play.ending()
    untouched(before, story.deployment.state(), CONTROL, FIRST, SECOND, THIRD)
    gone = story.node(FOURTH)
    label = "--filter label=dev.trigger.ansible/role"
    assert gone.output(f"docker ps --all --quiet {label}; docker network ls --quiet {label}") == ""
    assert gone.output("ls %s", expected.DIRECTORY) == ""
    assert gone.output("ls /etc/systemd/system | grep ^trigger- || true") == ""
    assert "TRIGGER" not in gone.output("iptables -S && ip6tables -S")
    assert gone.output("docker image ls --format '{{.Repository}}' | grep -E 'supervisor$|/probe$' || true") == ""
    assert FOURTH not in story.ages()
    inventory(story.grown, FIRST, SECOND, THIRD)
    assert story.play(playbook="workers").changes == []


def test_an_engine_that_is_restarted_takes_no_run_along(story: Story, traffic: Traffic) -> None:
    """As an upgrade of its packages does it, with a new socket. All runs are shorter than the unit waits for them."""
    assert at_work(story, traffic, SECOND), "there is nothing to lose"
    node, before = story.node(SECOND), story.since(SECOND)
    node.output("systemctl restart docker.socket docker")
    for container in (PROXY, SUPERVISOR):
        assert eventually(lambda name=container: story.healthy(SECOND, name))
    assert story.since(SECOND) != before
    journal = node.output("journalctl --unit trigger-supervisors")
    assert "Stopped trigger-supervisors" in journal
    assert "runs go on" not in journal


def test_a_host_that_falls_over_comes_back_by_itself(story: Story, traffic: Traffic) -> None:
    """The runs on it are queued anew by the webapp, which waits for their heartbeat first."""
    assert at_work(story, traffic, THIRD), "there is nothing to lose"
    docker("kill", THIRD)
    traffic.killed = {
        entry.id
        for entry in ledger(story.deployment, traffic.began)
        if entry.status == "EXECUTING" and THIRD in entry.workers
    }
    broken = story.play()
    assert broken.code != 0
    assert broken.failed[THIRD] == 1
    assert {name for name, count in broken.failed.items() if count} == {THIRD}, "one host out of reach stopped others"
    docker("start", THIRD)
    assert THIRD in broken.output.partition("NOT DONE")[2], broken.ending()
    assert eventually(lambda: story.ages()[THIRD] <= expected.HEARTBEAT_SECONDS, seconds=300), story.ages()
    play = story.play(playbook="workers")
    assert play.code == 0, play.ending()
    assert play.changes == []


def test_the_webapp_may_be_away_for_a_moment(story: Story, traffic: Traffic) -> None:
    # Runs that go on, or end meanwhile, are what has to be unaffected; none begins in that moment.
    with traffic.held():
        story.node(CONTROL).output("docker stop %s && sleep 5 && docker start %s", WEBAPP, WEBAPP)
        assert eventually(lambda: story.healthy(CONTROL, WEBAPP))
    assert eventually(lambda: max(story.ages().values()) <= expected.HEARTBEAT_SECONDS), story.ages()


def test_every_run_was_executed_exactly_once(story: Story, traffic: Traffic) -> None:
    """Those on the host that fell over are the exception: nobody knows whether their code went through."""
    assert traffic.alive
    traffic.stop()
    entries: list[Entry] = []

    def over() -> bool:
        entries[:] = ledger(story.deployment, traffic.began)
        return ended(entries)

    assert eventually(over, seconds=PATIENCE_SECONDS, pause=3), [entry for entry in entries if not ended([entry])]
    assert len(entries) >= len(traffic.triggered) > 50
    assert {entry.status for entry in entries} == {"COMPLETED_SUCCESSFULLY"}
    again = [entry for entry in entries if not entry.once]
    twice = [entry.id for entry in again if entry.id not in traffic.killed]
    assert twice == [], history(story.deployment, twice)
    begin, end = traffic.rolled
    meanwhile = [entry for entry in entries if begin <= entry.created <= end]
    late = [entry for entry in meanwhile if entry.delayed]
    print(
        f"\n{len(entries)} runs; {len(again)} began again, all on the host that fell over; {traffic.refused} could not "
        f"be triggered. Taken in vain at first: {len(late)} of {len(meanwhile)} during the change of four workers, "
        f"{len([entry for entry in entries if entry.delayed]) - len(late)} of the others"
    )
