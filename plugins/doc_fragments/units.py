# SPDX-License-Identifier: MIT
"""Options of modules that bring about units of systemd."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  units:
    description:
      - Units to bring about. Each file is replaced as a whole, and only if its content differs. It gets the mode
        C(0644), belongs to root, and must hold no secret.
      - A run that was interrupted is made good by the next one. systemd is reloaded where a file is newer than what it
        has loaded. A unit is started again where its file is newer than its start.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the unit, with its ending.
        type: str
        required: true
      content:
        description: All of its file.
        type: str
        required: true
      state:
        description:
          - V(present) writes the file only, as for the service of a timer.
          - V(enabled) has systemd start the unit at the next boot, V(started) now, too.
        type: str
        choices: [present, enabled, started]
        default: present
      restart:
        description:
          - Start a started unit again where its own file, or one of O(units[].follows), is newer than its start.
        type: bool
        default: true
      follows:
        description: Files that the unit has read when it started, such as its program.
        type: list
        elements: path
        default: []
  absent_units:
    description: Names of units to stop, to disable and to remove. Missing ones are no error.
    type: list
    elements: str
    default: []
"""
