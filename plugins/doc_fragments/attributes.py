# SPDX-License-Identifier: MIT
"""Attributes that modules share; a module that says more of one of them writes only that."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  platform:
    description: Linux.
    support: full
    platforms: linux
"""
    # Modules that read only.
    INFO = r"""
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: N/A
  platform:
    description: Linux.
    support: full
    platforms: linux
"""
