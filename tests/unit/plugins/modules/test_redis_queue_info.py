# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._check import Check
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules.redis_queue_info import look

GROUPS = ["bootstrap", "eu-1.a_b"]
# Of Redis 7.4.5, whose lines end in two ways.
ANSWER = """# Memory\r
used_memory:1048576\r
used_memory_human:1.00M\r
maxmemory:104857600\r
queue:bootstrap
3
queue:eu-1.a_b
0
jobs
2"""
QUESTIONS = """INFO memory
ECHO queue:bootstrap
LLEN engine:runqueue:workerQueue:bootstrap
ECHO queue:eu-1.a_b
LLEN engine:runqueue:workerQueue:eu-1.a_b
ECHO jobs
ZCARD engine:worker:{queue:run-engine-worker:}queue"""
FULL = "when they are full, no run can be triggered (webapp_redis_memory_mib)"
UNTOLD = Check("queues", False, "Redis does not tell them")


def found(answer: str, code: int = 0) -> tuple[Check, ...]:
    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        assert (argv, stdin) == (["docker", "exec", "--interactive", "redis", "redis-cli"], QUESTIONS)
        return Completed(code, answer, "")

    return tuple(look("redis", GROUPS, fake))


def test_queues_and_memory_are_told() -> None:
    queues = "runs for workers of bootstrap: 3, eu-1.a_b: 0; jobs of the engine: 2"
    assert found(ANSWER) == (Check("queues", True, queues), Check("memory of Redis", True, f"1 of 100 MiB; {FULL}"))


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace("eu-1.a_b\n0", "eu-1.a_b\nWRONGTYPE Operation"),
        ANSWER.replace("jobs\n2", "jobs\nWRONGTYPE Operation"),
    ],
)
def test_a_queue_that_is_not_told_is_wrong(answer: str) -> None:
    queues, memory = found(answer)
    assert queues == UNTOLD
    assert memory.ok


@pytest.mark.parametrize(
    ("used", "most", "ok", "detail"),
    [
        ("83886079", "104857600", True, f"79 of 100 MiB; {FULL}"),
        ("83886080", "104857600", False, f"80 of 100 MiB; {FULL}"),
        ("1048576", "0", False, "it has no limit, so the kernel ends Redis instead; run site.yml"),
    ],
)
def test_a_redis_that_is_nearly_full_is_wrong(used: str, most: str, ok: bool, detail: str) -> None:
    answer = ANSWER.replace("maxmemory:104857600", f"maxmemory:{most}").replace("memory:1048576\r", f"memory:{used}\r")
    assert found(answer)[1] == Check("memory of Redis", ok, detail)


def test_without_a_password_it_tells_nothing() -> None:
    untold = Check("memory of Redis", False, "Redis does not tell it")
    assert found("NOAUTH Authentication required.\n") == (UNTOLD, untold)


def test_a_container_that_does_not_run_is_both_rows() -> None:
    said = "No such container: redis"
    assert found(said, 1) == (Check("queues", False, said), Check("memory of Redis", False, said))
