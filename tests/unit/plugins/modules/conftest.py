# SPDX-License-Identifier: MIT
"""Runs a module's main() as Ansible does: arguments in, one JSON document out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from ansible.module_utils.testing import patch_module_args


class Invoke(Protocol):
    def __call__(self, main: Callable[[], None], *, check: bool = False, **arguments: object) -> dict[str, Any]: ...


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(main: Callable[[], None], *, check: bool = False, **arguments: object) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call
