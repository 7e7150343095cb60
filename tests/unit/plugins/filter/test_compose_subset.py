# SPDX-License-Identifier: MIT
"""Filter compose_subset."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.selfhosted.trigger_dev.plugins.filter.compose_subset import compose_subset

PROJECT: dict[str, Any] = {
    "services": {
        "web": {"depends_on": {"db": {"condition": "x"}, "cache": {"condition": "x"}}, "networks": ["inner", "outer"]},
        "db": {"networks": ["inner"], "volumes": ["db_data:/data", "/srv/db.conf:/db.conf:ro"]},
        "cache": {"networks": ["inner", "far"], "volumes": ["cache_data:/data"]},
    },
    "networks": {"inner": {"internal": True}, "outer": {}, "far": {}},
    "volumes": {"db_data": {}, "cache_data": {}},
}


def test_all_of_them_is_the_same_project() -> None:
    assert compose_subset(PROJECT, ["web", "db", "cache"]) == PROJECT


def test_what_only_the_others_used_goes() -> None:
    assert compose_subset(PROJECT, ["db", "web"]) == {
        "services": {
            "web": {"depends_on": {"db": {"condition": "x"}}, "networks": ["inner", "outer"]},
            "db": PROJECT["services"]["db"],
        },
        "networks": {"inner": {"internal": True}, "outer": {}},
        "volumes": {"db_data": {}},
    }


def test_a_named_volume_needs_no_row() -> None:
    project = {"services": PROJECT["services"]}
    assert compose_subset(project, ["db", "cache"])["volumes"] == {"db_data": {}, "cache_data": {}}


def test_the_original_stays_as_it_is() -> None:
    compose_subset(PROJECT, ["web"])
    assert set(PROJECT["services"]["web"]["depends_on"]) == {"db", "cache"}


def test_a_service_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="no service db2"):
        compose_subset(PROJECT, ["web", "db2"])
