# SPDX-License-Identifier: MIT
"""What keeps workers well: the table of status, task images that come and go, several supervisors and groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from story import CONTROL, FIRST, PROXY, SECOND, SUPERVISOR, THIRD, Story, inventory
from verification import expected
from verification.deployment import differences
from verification.nodes import Node, eventually

from testbed.hello import Hello

FIREWALL = "trigger-runner-firewall"
DIRECTORY = f"{expected.DIRECTORY}/supervisor"


def environment(node: Node) -> dict[str, str]:
    """What the supervisor of a host has been told."""
    told = json.loads(node.output("docker inspect --format '{{json .Config.Env}}' %s", SUPERVISOR))
    return dict(line.split("=", 1) for line in told)


@pytest.fixture(scope="module", autouse=True)
def three(story: Story) -> None:
    """Three workers, with whatever the tests before have left undone."""
    inventory(story.grown, FIRST, SECOND, THIRD)
    play = story.play(playbook="workers")
    assert play.code == 0, play.ending()


def test_what_works_is_said_to_work(story: Story, tmp_path: Path) -> None:
    before = story.deployment.state()
    page = tmp_path / "report.html"
    play = story.play("-e", f"status_report_file={page}", playbook="status")
    assert play.code == 0, play.ending()
    report = json.loads(page.with_suffix(".json").read_text())
    assert report["ok"]
    assert {host["name"] for host in report["hosts"]} == {CONTROL, FIRST, SECOND, THIRD}
    rows = {host["name"]: {check["what"]: check for check in host["checks"]} for host in report["hosts"]}
    for what in ("runs", "waiting runs", "stuck runs", "queues", "memory of Redis"):
        assert rows[CONTROL][what]["ok"], rows[CONTROL][what]
    assert "bootstrap: " in rows[CONTROL]["queues"]["detail"]
    for name in (FIRST, SECOND, THIRD):
        assert rows[name]["clock"]["ok"]
        assert "available" in rows[name]["memory"]["detail"]
        assert rows[name]["cleaning of task images"]["ok"]
        for what in ("drift of trigger-supervisor", "image of trigger-supervisor/supervisor"):
            assert rows[name][what]["ok"], rows[name][what]
            assert not rows[name][what]["warning"], rows[name][what]
    assert page.stat().st_mode & 0o777 == 0o600
    assert f"heartbeat of {FIRST}" in page.read_text()
    assert differences(before, story.deployment.state()) == []
    for host in (CONTROL, FIRST, SECOND, THIRD):
        assert host in play.text
    for what in ("end-to-end probe", f"heartbeat of {FIRST}", "a container was pulled and run"):
        assert what in play.text, play.ending()


def test_what_does_not_work_is_named_and_hides_nothing_else(story: Story) -> None:
    node = story.node(SECOND)
    # What the timer has begun is over when a start of it is.
    stop = f"systemctl stop {FIREWALL}.timer && systemctl start {FIREWALL}.service"
    node.output(f"docker stop {PROXY} && {stop} && iptables -F TRIGGER-RUNNER")
    try:
        play = story.play(playbook="status")
    finally:
        node.output(f"docker start {PROXY} && systemctl start {FIREWALL}.timer {FIREWALL}.service")
    assert play.code != 0
    wrong = play.text.rpartition("These checks failed")[2].partition("PLAY RECAP")[0]
    assert f"{SECOND}: end-to-end probe" in wrong, play.ending()
    assert f"{SECOND}: firewall of task containers" in wrong
    assert "run site.yml: iptables: TRIGGER-RUNNER has 0 rules" in play.text
    assert FIRST not in wrong
    assert "a container was pulled and run" in play.text
    assert eventually(lambda: story.healthy(SECOND, PROXY))


def test_task_images_that_nobody_uses_go_and_others_stay(story: Story, hello: Hello) -> None:
    """The program that the timer starts, with another retention than that of the timer."""
    worker = story.node(FIRST)
    assert hello.trigger(hello.key(), {}).status == "COMPLETED"
    registry = story.deployment.registry
    worker.output(f"docker tag {registry}/trigger/probe:1 %s", f"{registry}/trigger/old:20200101.1.production.abcdefgh")
    worker.output(f"docker tag {registry}/trigger/probe:1 mine.example.com/tool:1")
    before = set(worker.output("docker image ls --format '{{.Repository}}:{{.Tag}}'").split())
    unit = worker.read("/etc/systemd/system/trigger-task-images-clean.service")
    command = next(line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart="))
    done = json.loads(worker.output(f"{command} --all"))
    after = set(worker.output("docker image ls --format '{{.Repository}}:{{.Tag}}'").split())
    gone = before - after
    assert all(name.startswith(f"{registry}/trigger/") for name in gone), gone
    assert "mine.example.com/tool:1" in after
    assert f"{registry}/trigger/probe:1" in after, "the image that proves the end-to-end probe"
    assert not [name for name in after if name.startswith(f"{registry}/trigger/proj_")], done
    # The next run pulls it again.
    assert hello.trigger(hello.key(), {}).status == "COMPLETED"


def test_timers_run_on_every_worker(story: Story) -> None:
    for name in (FIRST, SECOND, THIRD):
        worker = story.node(name)
        assert worker.output("systemctl is-active trigger-task-images-clean.timer") == "active"
        worker.output("systemctl start trigger-task-images-clean.service")
        assert worker.output("systemctl show -p Result --value trigger-task-images-clean.service") == "success"
        assert "trigger-task-images-pull" not in worker.output("systemctl list-unit-files 'trigger-*' --no-legend")


def test_deployed_images_are_there_before_their_first_run(story: Story, hello: Hello) -> None:
    hello.key()
    play = story.play("--limit", SECOND, playbook="workers", task_images_prepull_enabled=True)
    assert play.code == 0, play.ending()
    worker = story.node(SECOND)
    worker.output("systemctl stop trigger-task-images-clean.timer trigger-task-images-pull.timer")
    images = "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep /trigger/proj_ || true"
    for name in worker.output(images).split():
        worker.output("docker image rm %s", name)
    assert worker.output(images) == ""
    worker.output("systemctl start trigger-task-images-pull.service")
    assert worker.output(images) != ""
    secret = json.loads(story.node(CONTROL).read(expected.SECRETS_FILE))["registry_pull_password"]
    shown = worker.output("systemctl cat trigger-task-images-pull.service; journalctl -u trigger-task-images-pull")
    seen = secret in shown
    assert not seen, "the password of the registry stands in the unit or in the journal"
    # Back to the defaults: the timer goes.
    assert story.play("--limit", SECOND, playbook="workers").code == 0
    assert "trigger-task-images-pull" not in worker.output("systemctl list-unit-files 'trigger-*' --no-legend")


@pytest.mark.soak
def test_a_second_supervisor_of_another_group_on_a_host(story: Story) -> None:
    """Its own project, networks, folder, name, group and token; the first one is not touched."""
    extra = f"{FIRST}-eu"
    before = story.since(FIRST)
    inventory(
        story.grown,
        FIRST,
        SECOND,
        THIRD,
        worker1={"supervisor_instances": [{"name": FIRST}, {"name": extra, "group": "eu"}]},
    )
    play = story.play(playbook="workers")
    assert play.code == 0, play.ending()
    assert story.since(FIRST) == before
    rows = story.deployment.sql(
        """SELECT w.name, g.name FROM "WorkerInstance" w JOIN "WorkerInstanceGroup" g ON g.id = w."workerGroupId" """
    )
    assert [extra, "eu"] in rows
    assert [FIRST, "bootstrap"] in rows
    assert story.ages()[extra] <= expected.HEARTBEAT_SECONDS
    node = story.node(FIRST)
    slug = extra.replace(".", "-")
    assert f"trigger-runner-{slug}" in node.output("docker network ls --format '{{.Name}}'").split()
    files = [f"{DIRECTORY}{suffix}/supervisor.env" for suffix in ("", f"-{slug}")]
    tokens = {
        line for file in files for line in node.read(file).splitlines() if line.startswith("TRIGGER_WORKER_TOKEN")
    }
    assert len(tokens) == 2, "both groups have the same token"
    assert story.play(playbook="workers").changes == []

    # And away again, alone.
    play = story.play(playbook="worker_remove", worker_hosts=FIRST, worker_instance=extra)
    assert play.code == 0, play.ending()
    assert story.since(FIRST) == before
    assert slug not in node.output("ls %s; docker network ls; docker ps --all", expected.DIRECTORY)
    assert {line.split()[3] for line in node.output("iptables -S INPUT").splitlines() if "TRIGGER" in line} == {
        "trigger-runner"
    }
    assert extra not in story.ages()
    inventory(story.grown, FIRST, SECOND, THIRD)
    assert story.play(playbook="workers").changes == []


@pytest.mark.soak
def test_a_worker_that_is_not_healthy_is_repaired(story: Story) -> None:
    """Compose takes it for what it is meant to be, so only who looks at its health starts it anew."""
    node, before = story.node(THIRD), story.since(THIRD)
    # Its runs wait about 7 s for it, and its health is looked at four times before it counts.
    node.output("docker kill --signal STOP %s", SUPERVISOR)
    unhealthy = f"docker ps --quiet --filter health=unhealthy --filter name={SUPERVISOR}"
    assert eventually(lambda: node.output(unhealthy) != "", seconds=180)
    play = story.play("--limit", THIRD, playbook="workers")
    assert play.code == 0, play.ending()
    assert story.since(THIRD) != before
    assert story.healthy(THIRD, SUPERVISOR)
    # Workers ask all the time, so there is always a request to end.
    assert [change for change in play.changes if "End dequeue requests" in change], play.changes
    assert story.ages()[THIRD] <= expected.HEARTBEAT_SECONDS


@pytest.mark.soak
def test_a_worker_whose_new_proxy_does_not_work_takes_no_runs(story: Story) -> None:
    """What it took would wait for a container that nobody makes."""
    node = story.node(THIRD)
    wrong = "example.com/proxy:1"
    node.output("docker tag $(docker inspect --format '{{.Image}}' %s) %s", SUPERVISOR, wrong)
    play = story.play(
        "--limit", THIRD, playbook="workers", supervisor_proxy_image=wrong, supervisor_start_timeout_seconds=20
    )
    assert play.code != 0
    assert "takes no more runs until that is repaired" in play.message, play.ending()
    assert environment(node)["TRIGGER_DEQUEUE_ENABLED"] == "false"
    # The next run has it take some again.
    play = story.play("--limit", THIRD, playbook="workers")
    assert play.code == 0, play.ending()
    assert environment(node)["TRIGGER_DEQUEUE_ENABLED"] == "true"


@pytest.mark.soak
def test_a_worker_that_cannot_be_moved_keeps_no_other_from_a_new_token(story: Story) -> None:
    # Everything is well with it until its turn to get the new token.
    in_its_turn = f"hostvars['{CONTROL}'].__worker_group_new_token is defined and not supervisor_batches_enabled"
    accident = {"supervisor_start_timeout_seconds": f"{{{{ 'never' if {in_its_turn} else 120 }}}}"}
    inventory(story.grown, FIRST, SECOND, THIRD, worker1=accident)
    play = story.play(playbook="worker_token_rotate", supervisor_serial=1)
    inventory(story.grown, FIRST, SECOND, THIRD)
    assert play.code != 0
    assert "The old token stays good until 10 minutes after" in play.message, play.ending()
    assert f"has not deployed them: {FIRST}." in play.message
    new = story.node(CONTROL).read(expected.TOKEN_FILE)

    def has_it(name: str) -> bool:
        return environment(story.node(name))["TRIGGER_WORKER_TOKEN"] == new

    assert [name for name in (FIRST, SECOND, THIRD) if has_it(name)] == [SECOND, THIRD]
    # While the old token is good, the next run moves it, too.
    play = story.play(playbook="workers")
    assert play.code == 0, play.ending()
    moved = has_it(FIRST)
    assert moved, "it was left behind"


@pytest.mark.soak
def test_a_lost_token_file_is_recovered(story: Story) -> None:
    story.node(CONTROL).output("rm %s", expected.TOKEN_FILE)
    refused = story.play("--limit", THIRD, playbook="workers")
    assert refused.code != 0
    assert "worker_token_recover" in refused.message
    play = story.play(playbook="worker_token_recover", supervisor_serial="100%")
    assert play.code == 0, play.ending()
    assert max(story.ages()[name] for name in (FIRST, SECOND, THIRD)) <= expected.HEARTBEAT_SECONDS
    assert story.play(playbook="worker_token_recover").changes == []


def test_no_token_goes_while_a_worker_would_be_cut_off(story: Story) -> None:
    inventory(story.grown, FIRST, SECOND)
    before = story.deployment.state()
    play = story.play(playbook="worker_token_rotate")
    inventory(story.grown, FIRST, SECOND, THIRD)
    assert play.code != 0
    assert f"has not deployed them: {THIRD}. They would be cut off" in play.message
    assert differences(before, story.deployment.state()) == [], "something was changed all the same"


@pytest.mark.soak
def test_a_drain_goes_on_where_something_is_missing(story: Story) -> None:
    node = story.node(THIRD)
    # Runs may begin late then, and that is all.
    play = story.play(playbook="worker_drain", worker_hosts=THIRD, __trigger_redis_container="nobody")
    assert play.code == 0, play.ending()
    assert "WARNING: Redis on the control host did not end the requests" in play.text
    assert environment(node)["TRIGGER_DEQUEUE_ENABLED"] == "false"
    node.output("docker rm --force %s", SUPERVISOR)
    play = story.play(playbook="worker_drain", worker_hosts=THIRD)
    assert play.code == 0, play.ending()
    assert play.changes == [], "a supervisor was started only to be told to take no runs"
    assert story.play(playbook="workers").code == 0
    assert environment(node)["TRIGGER_DEQUEUE_ENABLED"] == "true"


def test_a_lost_host_is_forgotten_and_a_living_one_is_not(story: Story) -> None:
    refused = story.play(playbook="worker_remove", worker_hosts=THIRD, worker_decommissioned_enabled=True)
    assert refused.code != 0, "a worker that is alive was forgotten"
    assert THIRD in story.ages()
    wrong = story.play(playbook="worker_remove", worker_hosts="nobody.example.com")
    assert wrong.code != 0
    assert "worker_hosts is 'nobody.example.com'" in wrong.message
    assert story.play(playbook="worker_drain").code != 0, "nobody was named"
