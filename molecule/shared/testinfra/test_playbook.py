# SPDX-License-Identifier: MIT
"""The playbook on a deployed system: changes nothing twice, tells the truth in check mode, and never tells a secret."""

from __future__ import annotations

import pytest
from verification.deployment import Deployment, differences
from verification.secrets import Secrets, leaks

pytestmark = pytest.mark.changes


def test_a_second_run_changes_nothing(deployment: Deployment, secrets: Secrets) -> None:
    before = deployment.state()
    play = deployment.play("-vvv", "--diff")
    play.went_through(deployment)
    assert play.changes == []
    assert set(play.changed.values()) == {0}
    assert leaks(play.output, secrets) == set()
    assert differences(before, deployment.state()) == []


def test_a_dry_run_changes_nothing_and_says_so(deployment: Deployment, secrets: Secrets) -> None:
    before = deployment.state()
    play = deployment.play("-vvv", "--check", "--diff")
    play.went_through(deployment)
    assert play.changes == []
    assert set(play.changed.values()) == {0}
    assert leaks(play.output, secrets) == set()
    assert differences(before, deployment.state()) == []
