# SPDX-License-Identifier: MIT
"""A program that cannot be run is a failure with words, whatever the reason is."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import run


def test_a_program_says_its_error() -> None:
    done = run(["sh", "-c", "echo no >&2; exit 3"])
    assert (done.code, done.error) == (3, "no")


@pytest.mark.parametrize(
    ("text", "mode", "code", "words"),
    [
        (None, 0, 127, "no such program"),
        ("#!/bin/sh\n", 0o644, 126, "permission denied"),
        ("no program\n", 0o755, 126, "exec format error"),
    ],
)
def test_a_program_that_cannot_be_run(tmp_path: Path, text: str | None, mode: int, code: int, words: str) -> None:
    program = tmp_path / "program"
    if text is not None:
        program.write_text(text)
        program.chmod(mode)
    done = run([str(program)])
    assert (done.code, done.error) == (code, f"{program}: {words}")


def test_a_program_that_is_too_slow() -> None:
    assert run(["sleep", "9"], timeout=0.1).code == 124
