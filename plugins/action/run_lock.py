# SPDX-License-Identifier: MIT
"""Action run_lock: one run of a changing playbook at a time.

A run ends in many ways, and no task comes behind most of them. So a process on the controller outlives the task: it
watches ansible-playbook, touches the lock from time to time, and removes it when ansible-playbook has ended, however
that was.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import signal
import socket
import stat
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import LOCK_PROCESS

# First line: who holds the lock; second line: what there is to tell of it. Its time of change is the last sign of life.
SCRIPT = r"""
umask 077
exec 9>>"$2" && flock 9 || exit 1
holder=$(head -n 1 "$2")
age=$(($(date +%s) - $(stat -c %Y "$2")))
case $1 in
take)
  if [ -n "$holder" ] && [ "$holder" != "$3" ] && [ "$holder" != "$5" ] && [ "$age" -lt "$4" ]; then
    echo "held $age"
    tail -n 1 "$2"
  else
    if [ -z "$holder" ] || [ "$holder" = "$3" ]; then echo taken; else echo "stale $age"; tail -n 1 "$2"; fi
    [ "$holder" = "$3" ] || printf '%s\n%s\n' "$3" "$6" >"$2"
  fi ;;
keep) if [ "$holder" = "$3" ]; then touch "$2"; echo kept; else echo lost; fi ;;
drop) if [ "$holder" = "$3" ]; then : >"$2"; fi; echo dropped ;;
esac
"""
WATCH_SECONDS = 0.5
DROP_ATTEMPTS = 3


@dataclass(frozen=True)
class Holder:
    """A run, as it is written into the lock."""

    machine: str
    process: int
    started: str
    user: str
    host: str
    since: str
    playbook: str

    @property
    def key(self) -> str:
        """What tells it from any other run."""
        return f"{self.machine}:{self.process}:{self.started}"

    @property
    def words(self) -> str:
        """Tell who it is."""
        return f"{self.user}@{self.host} (process {self.process}) has run {self.playbook} since {self.since}"


def started(process: int) -> str:
    """Tell when a process began, in a unit of the kernel's: empty for one that has ended, or where nothing tells."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # One that has ended is a zombie until its parent has asked.
    return "" if fields[0] in "ZX" else fields[19]


def alive(process: int, began: str) -> bool:
    """Tell whether a process that began then goes on."""
    if began:
        return started(process) == began
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def machine() -> str:
    """Name this machine so that no other has the name."""
    try:
        return Path("/etc/machine-id").read_text().strip() or socket.getfqdn()
    except OSError:
        return socket.getfqdn()


def parse_answer(answer: str) -> tuple[str, int, Holder | None]:
    """Read what the script has said: verdict, age of the last sign of life, holder."""
    first, _, rest = answer.strip().partition("\n")
    verdict, _, age = first.partition(" ")
    try:
        holder = Holder(**json.loads(rest))
    except (ValueError, TypeError):
        holder = None
    return verdict, int(age or 0), holder


def refusal(holder: Holder | None, age: int, path: str, stale: int) -> str:
    """Say why this run ends."""
    who = holder.words if holder else f"Another run holds {path}"
    return (
        f"{who}, and gave a sign of life {age} s ago. Two runs at once would undo each other's changes, so this one "
        f"has changed nothing. Wait for its end. If its machine was lost, its lock is void {stale} s after that sign."
    )


class Silence:
    """Takes what a process without a screen would display."""

    def send_display(self, *arguments: object, **options: object) -> None:
        """Drop it."""


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _requires_connection = True
    _VALID_ARGS = frozenset({"path", "required", "stale_seconds", "keep_seconds"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the lock, or say who has it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "required": {"type": "bool", "default": True},
                "stale_seconds": {"type": "int", "default": 120},
                "keep_seconds": {"type": "float", "default": 20},
            }
        )
        if self._task.check_mode:
            return result | {"changed": False, "msg": "A dry run takes no lock."}
        me = self._holder()
        try:
            note = self._take(me, given["path"], given["stale_seconds"])
        except AnsibleConnectionFailure as error:
            if given["required"]:
                raise
            Display().warning(f"The installation is not locked against other runs: {error}")
            return result | {"changed": False}
        self._watch(me, given["path"], given["keep_seconds"])
        return result | {"changed": False, "msg": note}

    @staticmethod
    def _holder() -> Holder:
        # A rollback that begins by itself has the lock of its upgrade.
        process = int(os.environ.get(LOCK_PROCESS) or os.getppid())
        return Holder(
            machine=machine(),
            process=process,
            started=started(process),
            user=getpass.getuser(),
            host=socket.gethostname(),
            since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            playbook=Path(str(next(iter(context.CLIARGS.get("args") or ()), "a playbook"))).name,
        )

    def _remote(self, verb: str, me: Holder, path: str, *more: str) -> str:
        words = ["sh", "-c", SCRIPT, "sh", verb, path, me.key, *more]
        done = self._low_level_execute_command(shlex.join(words))
        if done["rc"]:
            raise AnsibleActionFail(f"{path} cannot be locked: {(done['stderr'] or done['stdout']).strip()}")
        return str(done["stdout"])

    def _take(self, me: Holder, path: str, stale: int) -> str:
        content = json.dumps(asdict(me))
        verdict, age, holder = parse_answer(self._remote("take", me, path, str(stale), "", content))
        if verdict == "held" and holder and holder.machine == me.machine and not alive(holder.process, holder.started):
            verdict, age, holder = parse_answer(self._remote("take", me, path, str(stale), holder.key, content))
        if verdict == "held":
            raise AnsibleActionFail(refusal(holder, age, path, stale))
        if verdict == "stale" and holder:
            return f"Taken from a run that has died: {holder.words}."
        return ""

    def _watch(self, me: Holder, path: str, keep: float) -> None:
        """Have another process keep the lock as long as ansible-playbook goes on."""
        if os.fork() == 0:
            try:
                self._guard(me, path, keep)
            finally:
                os._exit(0)

    def _guard(self, me: Holder, path: str, keep: float) -> NoReturn:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        Display().set_queue(Silence())
        # Another program waits for the end of ansible-playbook's output, not for the end of this process.
        for name in os.listdir("/dev/fd"):
            number = int(name)
            try:
                if number > 2 and stat.S_ISFIFO(os.fstat(number).st_mode):
                    os.close(number)
            except OSError:
                continue
        kept = time.monotonic()
        while alive(me.process, me.started):
            time.sleep(WATCH_SECONDS)
            if time.monotonic() - kept >= keep:
                kept = time.monotonic()
                if self._quietly("keep", me, path).startswith("lost"):
                    os._exit(0)
        for _ in range(DROP_ATTEMPTS):
            if self._quietly("drop", me, path):
                break
            time.sleep(2)
        os._exit(0)

    def _quietly(self, verb: str, me: Holder, path: str) -> str:
        """Try it: connections of all kinds fail in their own ways, and what fails is tried again."""
        try:
            return self._remote(verb, me, path)
        except Exception:
            return ""
