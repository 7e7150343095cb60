# SPDX-License-Identifier: MIT
"""What counts as a call of a host, with lines that were recorded from Ansible."""

from __future__ import annotations

import pytest

from testbed.executions import executions

# As the Docker connection prints them: what is run, by whom.
SUDO = (
    r"""<{host}> EXEC ['/usr/bin/docker', b'exec', b'-i', '{host}', '/bin/sh', '-c', '/bin/sh -c \'sudo -H -S -n  -u"""
    r""" root /bin/sh -c \'"\'"\'echo BECOME-SUCCESS-iwctqymujlnxhzuysysywhnzzhbrbtgl ; /usr/bin/python3{file}"""
    r"""\'"\'"\' && sleep 0\'']"""
)
ROOT = """<{host}> EXEC ['/usr/bin/docker', b'exec', b'-i', '{host}', '/bin/sh', '-c', "/bin/sh -c '{command}'"]"""
LOCK = (
    """<{host}> EXEC ['/usr/bin/docker', b'exec', b'-i', '{host}', '/bin/sh', '-c', "sudo -H -S -n  -u root /bin/sh"""
    """ -c 'echo BECOME-SUCCESS-netwktwkkfvdbaxcujnbyvnagcjpfzbs ; sh -c take /run/trigger-run.lock'"]"""
)
FILE = " /root/.ansible/tmp/ansible-tmp-1796131557.7635627-10320-165817557212607/AnsiballZ_command.py"


def task(name: str, *lines: str) -> str:
    return "\n".join([f"\nTASK [{name}] ".ljust(80, "*"), "task path: /roles/a/tasks/main.yml:3", *lines, ""])


def on(host: str, *, file: str = "") -> str:
    return SUDO.replace("{host}", host).replace("{file}", file)


def as_root(host: str, command: str) -> str:
    return ROOT.replace("{host}", host).replace("{command}", command)


@pytest.mark.parametrize("file", ["", FILE], ids=["pipelining", "files"])
def test_each_task_counts_once_on_each_host_that_it_calls(file: str) -> None:
    log = "".join(
        [
            task("Read on both", on("one", file=file), on("two", file=file), "ok: [one]"),
            task("Look at items", on("one", file=file), "ok: [one] => (item=a)", on("one", file=file)),
            task("Try again", on("two", file=file), "FAILED - RETRYING: [two]", on("two", file=file)),
            task("Ask the first for the second", on("one", file=file), "ok: [two -> one]"),
            task("Compute", "ok: [one] => {"),
        ]
    )
    assert executions(log) == {"one": 3, "two": 2}


def test_a_user_who_is_root_needs_no_sudo() -> None:
    assert executions(task("Read", as_root("one", "/usr/bin/python3.13 && sleep 0"))) == {"one": 1}


def test_what_is_no_module_does_not_count() -> None:
    log = task(
        "Lock the installation",
        LOCK.replace("{host}", "one"),
        as_root("one", "echo ~ && sleep 0"),
        as_root("one", "/usr/bin/python3 --version 2>&1"),
        "<one> PUT /tmp/x TO /root/.ansible/tmp/y/AnsiballZ_command.py",
        '    "msg": "<one> EXEC /usr/bin/python3 && sleep 0"',
    )
    assert executions(log) == {}
