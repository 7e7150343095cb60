# SPDX-License-Identifier: MIT
"""Module file_set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
version_added: 0.1.0
short_description: Write the files of a folder in one go
description:
  - Creates a folder, and folders and files in it with their owners and modes. The folder has mode C(0700) and belongs
    to the user that the task runs as, normally root. Missing folders above it are created, too.
  - One task for all of them, because each task on each host costs about a second. Other files in the folder stay.
  - Each file is replaced as a whole, and only if its content differs.
  - A folder that is not managed gets files, too, see O(manage_folder).
  - A program can look at the new files before they replace the old ones, see O(validate).
  - A program can bring about what the files say, see O(apply).
  - Docker Compose can tell whether the project of the folder runs as its files say, see O(compose).
  - Units of systemd that start what is in the folder follow when all of it is there, see O(units).
attributes:
  check_mode:
    support: full
    description:
      - Predicts truly, also where the folder is missing.
      - O(validate) runs in check mode too, on a copy that is removed again. What that program itself does is up to it.
      - O(apply) runs in check mode too, where no file or folder differs. The caller tells it then to change nothing.
  diff_mode:
    support: full
    description: Shows names, owners and modes, and content only of those O(files) that may be shown.
options:
  path:
    description: The folder.
    type: path
    required: true
  manage_folder:
    description: Bring about O(path) with its owner and mode. When false it must be there, and stays as it is.
    type: bool
    default: true
  folders:
    description: Folders in it.
    type: list
    elements: dict
    default: []
    suboptions:
      path: &path
        description: Path relative to O(path).
        type: str
        required: true
      owner: &owner
        description: Number of the owner. Containers know no names of the host.
        type: int
        default: 0
      group: &group
        description: Number of the group.
        type: int
        default: 0
      mode:
        description: Mode in octal digits.
        type: str
        default: "0700"
  files:
    description: Files in it. Their folders must exist, or be listed in O(folders).
    type: list
    elements: dict
    default: []
    suboptions:
      path: *path
      owner: *owner
      group: *group
      mode:
        description: Mode in octal digits.
        type: str
        default: "0600"
      content:
        description: All of the file. Not shown unless O(files[].shown).
        type: str
        required: true
      shown:
        description: Show in a diff how the content differs. For files that hold no secret.
        type: bool
        default: false
  validate:
    description:
      - Commands, each as a list of words, that look at the new files before anything in O(path) changes. They run only
        if one of the files differs, in their order, and without a shell.
      - Every V(%s) in their words stands for a temporary folder. It holds all of O(folders) and O(files), with their
        owners and modes, and the folders that these lie in.
      - That folder has the mode C(0700) and belongs to the user that the task runs as. It lies beside O(path), or in
        the nearest folder above that exists. It is removed in any case.
      - An exit code other than 0, and a program that does not end within 300 seconds, fail the task, and nothing in
        O(path) has changed. The end of what the program said is shown. Lines of the files in it, and values of their
        lines C(NAME=value), are masked; what it quotes in another form is not recognised.
    type: list
    elements: list
    default: []
  apply:
    description:
      - Program, as a list of words, that brings about what the files say. It runs each time, when all of O(files) are
        there and before O(units), and without a shell.
      - It prints one line, a JSON object whose key C(changed) tells whether it changed something (in check mode,
        whether it would).
      - An exit code other than 0, another output, and a program that does not end within 300 seconds, fail the task.
    type: list
    elements: str
    default: []
  compose:
    description:
      - The folder holds a Compose project. Ask Compose whether it runs as its files say, where none of them differs.
      - Nothing of the project is touched. O(units) and O(absent_units) follow only where it does.
    type: bool
    default: false
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.units
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Environment and configuration of a project
  selfhosted.trigger_dev.file_set:
    path: /opt/trigger/example
    folders:
      - {path: shared, owner: 1000, group: 1000}
    files:
      - path: example.env
        content: "{{ {'PASSWORD': example_password} | selfhosted.trigger_dev.dotenv }}"
      - path: example.conf
        content: "{{ example_conf }}"
        mode: "0444"

- name: Program with the timer that starts it
  selfhosted.trigger_dev.file_set:
    path: /opt/trigger/example
    files:
      - {path: example.py, content: "{{ example_program }}", mode: "0700"}
    units:
      - {name: example.service, content: "{{ example_service }}"}
      - {name: example.timer, content: "{{ example_timer }}", state: started}

- name: Configuration that its program has looked at
  selfhosted.trigger_dev.file_set:
    path: /opt/trigger/example
    files:
      - path: example.conf
        content: "{{ example_conf }}"
    validate:
      - [example, --check, --config, "%s/example.conf"]

- name: Rules that their program loads into the kernel
  selfhosted.trigger_dev.file_set:
    path: /opt/trigger/example
    files:
      - {path: rules.json, content: "{{ example_rules | to_json }}"}
    apply: "{{ ['example', 'load', 'rules.json'] + (['--dry-run'] if ansible_check_mode else []) }}"
"""

RETURN = r"""
fresh:
  description: Whether the folder was missing.
  returned: success
  type: bool
written:
  description: Files and folders, relative to the folder, that were made or changed (in check mode, that would be).
  returned: success
  type: list
  elements: str
modified:
  description:
    - O(files[].path) -> when it got its content, in seconds since 1970. In check mode without files that are missing.
    - A container that mounts a file, and is older, still has its old content.
  returned: success
  type: dict
applied:
  description: What O(apply) has printed. Empty where it did not run.
  returned: success
  type: dict
compose:
  description: What Compose has said of the project.
  returned: success
  type: dict
  contains:
    settled:
      description:
        - Whether C(up) would change nothing, and every container runs and is healthy where it has a health check.
        - False where Compose was not asked, and in doubt.
      returned: success
      type: bool
    containers:
      description: The containers of a settled project, in the words of M(community.docker.docker_compose_v2).
      returned: success
      type: list
      elements: dict
    actions:
      description: Always empty, as M(community.docker.docker_compose_v2) has it for a project that it leaves alone.
      returned: success
      type: list
      elements: dict
units:
  description: What was done to units of systemd (in check mode, what would be).
  returned: success
  type: dict
  contains:
    written: &names
      description: Those whose files were written.
      returned: success
      type: list
      elements: str
    reloaded:
      description: Whether systemd was told to read unit files again.
      returned: success
      type: bool
    enabled:
      <<: *names
      description: Those that were enabled.
    started:
      <<: *names
      description: Those that were started, or started again.
    removed:
      <<: *names
      description: Those that were removed.
"""

import json
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _compose, _systemd
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed, Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically

FOLDER_MODE = 0o700
COPY = "%s"
PROGRAM_SECONDS = 300
SHOWN_CHARACTERS = 2000
MASK = "********"
# Masking shorter ones would shred the text, and where the masks fall would tell what they hide.
MINIMUM = 4


class FileSetError(Exception):
    """Something that the user must set right."""


@dataclass(frozen=True)
class Entry:
    """A file, or a folder where there is no content."""

    path: str
    owner: int
    group: int
    mode: int
    content: str | None

    @property
    def access(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def entry(option: Mapping[str, Any]) -> Entry:
    """Check what argument specs cannot."""
    path, mode = option["path"], option["mode"]
    if os.path.isabs(path) or ".." in path.split("/") or path in {"", "."}:
        raise FileSetError(f"path must lie below the folder, is {path!r}")
    try:
        return Entry(path, option["owner"], option["group"], int(mode, 8), option.get("content"))
    except ValueError:
        raise FileSetError(f"mode of {path} must be octal digits, is {mode!r}") from None


def found(base: str, wanted: Entry) -> Entry | None:
    """Read what is there in place of the wanted one."""
    path = os.path.join(base, wanted.path)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    kind = stat.S_ISDIR if wanted.content is None else stat.S_ISREG
    if not kind(status.st_mode):
        raise FileSetError(f"{path} is not a {'folder' if wanted.content is None else 'plain file'}; move it away")
    content = None
    if wanted.content is not None:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            content = stream.read()
    return Entry(wanted.path, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), content)


def modification_times(base: str, wanted: Sequence[Entry]) -> dict[str, int]:
    paths = {one.path: os.path.join(base, one.path) for one in wanted if one.content is not None}
    return {name: int(os.stat(path).st_mtime) for name, path in paths.items() if os.path.exists(path)}


def apply_entry(base: str, wanted: Entry, present: Entry | None) -> None:
    path = os.path.join(base, wanted.path)
    if wanted.content is None:
        os.makedirs(path, FOLDER_MODE, exist_ok=True)
    elif present is None or present.content != wanted.content:
        write_atomically(path, wanted.content, wanted.mode, wanted.owner, wanted.group)
        return
    os.chown(path, wanted.owner, wanted.group)
    os.chmod(path, wanted.mode)


@contextmanager
def scratch_folder(base: str) -> Iterator[str]:
    """Give a folder on the same file system that is gone afterwards, also when somebody ends the module meanwhile."""
    above = os.path.dirname(os.path.abspath(base))
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda told, _frame: sys.exit(128 + told)) for number in ends]
    try:
        folder = tempfile.mkdtemp(prefix=f".{os.path.basename(os.path.abspath(base))}.", dir=above)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
    finally:
        for number, handler in zip(ends, before):
            signal.signal(number, handler)


def lay_out(base: str, scratch: str, wanted: Sequence[Entry]) -> None:
    """Write all that is wanted; a folder that is there already and not named is needed by the files in it."""
    for one in wanted:
        for parent in reversed(list(PurePath(one.path).parents)[:-1]):
            copy, original = os.path.join(scratch, parent), os.path.join(base, parent)
            if not os.path.isdir(copy) and os.path.isdir(original):
                status = os.stat(original)
                apply_entry(
                    scratch, Entry(str(parent), status.st_uid, status.st_gid, status.st_mode & 0o7777, None), None
                )
        apply_entry(scratch, one, None)


def masked(text: str, contents: Sequence[str]) -> str:
    """Hide what stands in the files: programs quote the line that they do not like."""
    lines = {line.strip() for content in contents for line in content.splitlines()}
    values = {line.partition("=")[2].strip(" \t\"'") for line in lines if re.match(r"\w+\s*=", line)}
    words = sorted((word for word in lines | values if len(word) >= MINIMUM), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, words)), MASK, text) if words else text


def validate(runner: Run, commands: Sequence[Sequence[str]], base: str, wanted: Sequence[Entry]) -> None:
    """Let the commands look at a copy of what is wanted, up to the first that refuses it."""
    with scratch_folder(base) as scratch:
        lay_out(base, scratch, wanted)
        for command in commands:
            done = runner([str(word).replace(COPY, scratch) for word in command], timeout=PROGRAM_SECONDS)
            if done.code != 0:
                raise refusal(command[0], done, base, scratch, wanted)


def refusal(program: str, done: Completed, base: str, scratch: str, wanted: Sequence[Entry]) -> FileSetError:
    """Tell what a program does not like, without what the files hold."""
    said = "\n".join(text.strip() for text in (done.stdout, done.stderr) if text.strip())
    shown = masked(said.replace(scratch, base), [one.content for one in wanted if one.content is not None])
    return FileSetError(
        f"{program} refuses what was to be written to {base} (exit code {done.code}); nothing was changed. "
        f"{shown[-SHOWN_CHARACTERS:]}".strip()
    )


def applied(runner: Run, command: Sequence[str]) -> dict[str, Any]:
    """Let a program bring about what the files say, and give what it tells."""
    done = runner(command, timeout=PROGRAM_SECONDS)
    if done.code != 0:
        raise FileSetError(f"{' '.join(command)}: {done.error[-SHOWN_CHARACTERS:]}")
    try:
        told = json.loads(done.stdout)
        return {**told, "changed": bool(told["changed"])}
    except (ValueError, TypeError, KeyError):
        raise FileSetError(
            f"{' '.join(command)} does not tell in JSON whether it changed something: {done.stdout[-SHOWN_CHARACTERS:]}"
        ) from None


def main() -> None:
    place: dict[str, Any] = {
        "path": {"type": "str", "required": True},
        "owner": {"type": "int", "default": 0},
        "group": {"type": "int", "default": 0},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "manage_folder": {"type": "bool", "default": True},
            "folders": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**place, "mode": {"type": "str", "default": "0700"}},
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                # The whole list: of a single suboption Ansible writes the value into the host's log all the same.
                "no_log": True,
                "options": {
                    **place,
                    "mode": {"type": "str", "default": "0600"},
                    "content": {"type": "str", "required": True, "no_log": True},
                    "shown": {"type": "bool", "default": False},
                },
            },
            "validate": {"type": "list", "elements": "list", "default": []},
            "apply": {"type": "list", "elements": "str", "default": []},
            "compose": {"type": "bool", "default": False},
            "units": _systemd.UNITS,
            "absent_units": _systemd.ABSENT,
        },
        supports_check_mode=True,
    )
    # That masks names and modes too, wherever they stand in the result; contents are what must not be shown.
    hidden = [option["content"] for option in module.params["files"] if not option["shown"]]
    shown = {option["path"] for option in module.params["files"] if option["shown"]}
    module.no_log_values.intersection_update(hidden)
    base, commands = module.params["path"], module.params["validate"]
    # The mode of makedirs is for the last folder only; those above it are made by this.
    os.umask(0o077)
    fresh = not os.path.isdir(base)
    folder = Entry(".", os.geteuid(), os.getegid(), FOLDER_MODE, None)
    try:
        inside = [*map(entry, module.params["folders"]), *map(entry, module.params["files"])]
        if fresh and not module.params["manage_folder"]:
            raise FileSetError(f"{base} must exist, because manage_folder is false")
        wanted = [folder, *inside] if module.params["manage_folder"] else inside
        present = {one.path: found(base, one) for one in wanted}
        differing = [one for one in wanted if present[one.path] != one]
        if commands and any(one.content is not None for one in differing):
            validate(run, commands, base, inside)
        if not module.check_mode:
            for one in differing:
                apply_entry(base, one, present[one.path])
        modified = modification_times(base, inside)
        pending = module.check_mode and bool(differing)
        told = applied(run, module.params["apply"]) if module.params["apply"] and not pending else {}
        asked = module.params["compose"] and not differing
        project = _compose.look(run, base) if asked else dict(_compose.UNSETTLED)
        follow = project["settled"] or not module.params["compose"]
        done = _systemd.bring_about(
            _systemd.Systemd(run),
            _systemd.FOLDER,
            [_systemd.Unit(**row) for row in module.params["units"] if follow],
            module.params["absent_units"] if follow else [],
            dry=module.check_mode,
        )
    except (FileSetError, _systemd.UnitError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or base}: {error.strerror}")

    units_changed, unit_diffs = done.pop("changed"), done.pop("diff")
    before = {one.path: present[one.path] for one in differing}
    texts = [
        {
            "before_header": os.path.join(base, one.path),
            "after_header": os.path.join(base, one.path),
            "before": getattr(before[one.path], "content", None) or "",
            "after": one.content,
        }
        for one in differing
        if one.path in shown and getattr(before[one.path], "content", None) != one.content
    ]
    module.exit_json(
        changed=bool(differing) or bool(told.get("changed")) or units_changed,
        fresh=fresh,
        written=[one.path for one in differing],
        modified=modified,
        diff=[
            {
                "before_header": base,
                "after_header": base,
                "before": {path: one.access for path, one in before.items() if one is not None},
                "after": {
                    one.path: one.access + (" (content differs)" if before[one.path] is not None else "")
                    for one in differing
                },
            },
            *texts,
            *unit_diffs,
        ],
        applied=told,
        compose=project,
        units=done,
    )


if __name__ == "__main__":
    main()
