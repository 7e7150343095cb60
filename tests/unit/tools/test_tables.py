# SPDX-License-Identifier: MIT
"""Tables of settings for people, from rows that are small enough to be read here."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import yaml

from tools.tables import by_name, cell, fill, of_memory, of_role, without_name

DOCUMENTS: dict[str, Any] = yaml.safe_load(
    textwrap.dedent("""
        role:
          without_setting:
            - {names: [OLD, OLDER], note: Nothing reads it.}
          settings:
            role_mode:
              description: How <it> runs.
              type: str
              default: ""
              choices: ["", a|b]
            role_port:
              section: {title: Ports, note: All of one host.}
              description: Port of the thing.
              type: int
              default: 80
              range: [1, 65535]
              zero: true
              also_known_as: [THE_PORT, {names: [PORT_URL], note: With the host.}]
            role_env:
              section: Rest
              description: Anything else.
              type: dict
              required: true
              only_for: [part]
              also_known_as: [{names: [B, A], key: web, note: Of Node.}]
            role_host:
              description: Host of the thing.
              type: str
              default: "{{ __role_host }}"
              also_known_as: [{names: [PORT_URL], note: Of the host.}]
            role_things: {description: Things., type: list, default: [], elements: {type: dict}}
        supervisor:
          settings:
            supervisor_debug: {description: Say more., type: bool, default: false, also_known_as: [DEBUG, THE_PORT]}
        workhorse:
          internal: true
          settings:
            workhorse_x: {description: Not for people., type: int, default: 1, range: [1, 2]}
    """)
)


def test_a_role_shows_each_setting_in_its_section() -> None:
    expected = """\
        | setting | type | default | meaning |
        | --- | --- | --- | --- |
        | `role_mode` | str: empty, `a\\|b` | `""` | How &lt;it> runs. |

        ### Ports

        All of one host.

        | setting | type | default | meaning |
        | --- | --- | --- | --- |
        | `role_port` | int, 0 or 1 to 65535 | `80` | Port of the thing. |

        ### Rest

        | setting | type | default | meaning |
        | --- | --- | --- | --- |
        | `role_env` | dict | required | Anything else. Entry point: `part`. |
        | `role_host` | str | computed | Host of the thing. |
        | `role_things` | list of dict | `[]` | Things. |
        """
    assert of_role(DOCUMENTS["role"]) == textwrap.dedent(expected)


def test_names_stand_in_order_and_share_a_row_with_the_same_answer() -> None:
    expected = """\
        | upstream or community stack | here | note |
        | --- | --- | --- |
        | `A`, `B` | `role_env.web` | Of Node. |
        | `OLD`, `OLDER` |  | Nothing reads it. |
        | `PORT_URL` | `role_host`, `role_port` | With the host. Of the host. |
        | `THE_PORT` | `role_port`, `supervisor_debug` |  |
        """
    assert by_name(DOCUMENTS, supervisor=False) == textwrap.dedent(expected)


def test_names_of_the_supervisor_alone_have_a_table_of_their_own() -> None:
    assert by_name(DOCUMENTS, supervisor=True).splitlines()[2:] == ["| `DEBUG` | `supervisor_debug` |  |"]


def test_settings_without_a_name_are_listed_except_internal_ones() -> None:
    found = without_name(DOCUMENTS).splitlines()[2:]
    assert found == ["| `role_mode` | How &lt;it> runs. |", "| `role_things` | Things. |"]


def test_a_cell_ends_at_no_bar_and_keeps_code() -> None:
    assert cell("a|b <c> `<d>|e`") == "a\\|b &lt;c> `<d>\\|e`"


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    begin, end = "<!-- begin x: written by `make generate` from meta/settings.yml -->", "<!-- end x -->"
    assert fill(f"a\n{begin}\nold\n{end}\nb\n", {"x": "new\n"}) == f"a\n{begin}\n\nnew\n\n{end}\nb\n"
    with pytest.raises(ValueError, match="begin y"):
        fill(f"{begin}{end}", {"y": ""})
    begin = "<!-- begin x: written by `make generate` from rows.yml -->"
    assert fill(f"{begin}{end}", {"x": "new\n"}, "rows.yml") == f"{begin}\n\nnew\n\n{end}"


def test_memory_of_services_has_sums_and_hosts_that_are_large_enough() -> None:
    services: dict[str, dict[str, Any]] = {
        "one": {"memory": {"steps_mib": [1000, 2000]}},
        "two": {"memory": {"steps_mib": [24, 48]}},
        "its-twin": {"memory": {"steps_mib": "{{ that of two }}"}},
    }
    assert of_memory(services, 512).splitlines() == [
        "| MiB left to the services | 1024 | 2048 |",
        "| --- | --- | --- |",
        # (1024 + 512) / 0.9 is 1.67 GiB, rounded up.
        "| a control host with registry and gateway | 1.7 GiB | 2.8 GiB |",
        "| `one` | 1000 | 2000 |",
        "| `two` | 24 | 48 |",
    ]
