# SPDX-License-Identifier: MIT
"""Module file_set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
version_added: 0.1.0
short_description: Write the files of a folder in one go
description:
  - Brings about a folder (mode C(0700), of the user that the task runs as, normally root; folders above it that are
    missing, too), and folders and files in it
    with their owners and modes.
  - One task for all of them, because each task on each host costs about a second. Other files in the folder stay.
  - Each file is replaced as a whole, and only if its content differs.
attributes:
  check_mode:
    support: full
    description: Predicts truly, also where the folder is missing. O(validate) uses a scratch folder that goes again.
  diff_mode:
    support: full
    description: Shows names, owners and modes, never content.
  platform:
    support: full
    description: Linux.
    platforms: linux
options:
  path:
    description: The folder.
    type: path
    required: true
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
    description: Files in it. Their folders must be there, or stand in O(folders).
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
        description: All of the file. Never shown.
        type: str
        required: true
  validate:
    description:
      - Command that must end with 0 before anything in the folder is changed, for example one that reads a
        configuration. In each of its words C(%s) is replaced by a scratch folder beside the folder, in which all of
        O(folders) and O(files) stand as they are to be.
      - Runs only if something differs; in check mode too, so it must change nothing.
      - What it says about a failure is shown, without the contents of the files.
    type: list
    elements: str
    default: []
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
"""

import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically

FOLDER_MODE = 0o700
VALIDATION_SECONDS = 300
MOST_SAID = 2000


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


def bring_about(base: str, wanted: Entry, present: Entry | None) -> None:
    path = os.path.join(base, wanted.path)
    if wanted.content is None:
        os.makedirs(path, FOLDER_MODE, exist_ok=True)
    elif present is None or present.content != wanted.content:
        write_atomically(path, wanted.content, wanted.mode, wanted.owner, wanted.group)
        return
    os.chown(path, wanted.owner, wanted.group)
    os.chmod(path, wanted.mode)


def validate(base: str, wanted: Sequence[Entry], command: Sequence[str]) -> None:
    """Let a command look at all of it before it takes the place of what is there."""
    parent = os.path.dirname(os.path.abspath(base))
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    # A folder of its own, so that nobody gets at it before its owners and modes are right.
    with tempfile.TemporaryDirectory(prefix=".validate.", dir=parent) as scratch:
        for one in wanted:
            bring_about(scratch, one, None)
        done = run([word.replace("%s", scratch) for word in command], timeout=VALIDATION_SECONDS)
        if done.code != 0:
            said = done.error.replace(scratch, base)[-MOST_SAID:]
            raise FileSetError(f"{command[0]} refuses what was to be written to {base}; nothing was changed. {said}")


def main() -> None:
    place: dict[str, Any] = {
        "path": {"type": "str", "required": True},
        "owner": {"type": "int", "default": 0},
        "group": {"type": "int", "default": 0},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
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
                },
            },
            "validate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    # That masks names and modes too, wherever they stand in the result; contents are what must not be shown.
    module.no_log_values.intersection_update(option["content"] for option in module.params["files"])
    base = module.params["path"]
    # The mode of makedirs is for the last folder only; those above it are made by this.
    os.umask(0o077)
    fresh = not os.path.isdir(base)
    folder = Entry(".", os.geteuid(), os.getegid(), FOLDER_MODE, None)
    try:
        wanted = [folder, *map(entry, module.params["folders"]), *map(entry, module.params["files"])]
        present = {one.path: found(base, one) for one in wanted}
        differing = [one for one in wanted if present[one.path] != one]
        if differing and module.params["validate"]:
            validate(base, wanted[1:], module.params["validate"])
        if not module.check_mode:
            for one in differing:
                bring_about(base, one, present[one.path])
    except FileSetError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or base}: {error.strerror}")

    before = {one.path: present[one.path] for one in differing}
    module.exit_json(
        changed=bool(differing),
        fresh=fresh,
        written=[one.path for one in differing],
        diff={
            "before_header": base,
            "after_header": base,
            "before": {path: one.access for path, one in before.items() if one is not None},
            "after": {
                one.path: one.access + (" (content differs)" if before[one.path] is not None else "")
                for one in differing
            },
        },
    )


if __name__ == "__main__":
    main()
