# SPDX-License-Identifier: MIT
"""What `make generate` writes, from rows that are small enough to be read here."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml

from tools.settings import defaults, specs

DOCUMENT: dict[str, Any] = yaml.safe_load(
    textwrap.dedent("""
        entry_points:
          main: {short_description: Do it}
          preflight: {short_description: Check it}
          part: {short_description: Do a part, takes: some}
        note: Written for nobody.
        settings:
          role_name:
            section: {title: Names, note: What things are called.}
            description: Name of the thing.
            type: str
            default: "{{ inventory_hostname }}"
            format: name
            also_for: [part]
          role_place:
            description: Where it is put.
            type: path
            required: true
          role_port:
            section: Ports
            description: Port of the thing.
            type: int
            default: 80
            range: [1, 65535]
          role_things:
            description: Things.
            type: list
            default: [{name: one}]
            elements: {type: dict, options: {name: {description: Name., type: str, required: true, format: name}}}
          role_password:
            description: Password.
            type: str
            default: ""
            secret: true
          role_files:
            description: Files of the part.
            type: list
            required: true
            only_for: [part]
            elements: {type: str, reason: Any.}
    """)
)
# REUSE-IgnoreStart: no header of this file
HEAD = "# SPDX-License-Identifier: MIT\n# Written by `make generate` from meta/settings.yml. Change that.\n---\n"
# REUSE-IgnoreEnd


def test_defaults_keep_order_headings_and_descriptions() -> None:
    expected = f"""\
        # Written for nobody.

        # --- Names {"-" * 88}
        # What things are called.

        # Name of the thing.
        role_name: "{{{{ inventory_hostname }}}}"

        # --- Ports {"-" * 88}

        # Port of the thing.
        role_port: 80

        # Things.
        role_things:
          - name: one

        # Password.
        role_password: ""
        """
    assert defaults(DOCUMENT) == HEAD + textwrap.dedent(expected)


def test_specs_say_what_the_rows_say() -> None:
    text = specs(DOCUMENT)
    assert text.startswith(HEAD)
    found = yaml.safe_load(text)["argument_specs"]
    main = found["main"]["options"]
    assert found["preflight"]["options"] == main
    assert list(main) == ["role_name", "role_place", "role_port", "role_things", "role_password"]
    assert list(found["part"]["options"]) == ["role_name", "role_files"]
    assert main["role_place"] == {"description": "Where it is put.", "type": "path", "required": True}
    assert main["role_password"]["no_log"] is True
    assert main["role_things"]["elements"] == "dict"
    assert main["role_things"]["options"] == {"name": {"description": "Name.", "type": "str", "required": True}}
    # The whole list of options is written once.
    assert text.count("Port of the thing.") == 1


def test_long_descriptions_are_wrapped() -> None:
    document = {"entry_points": {}, "settings": {"role_x": {"description": "word " * 60, "type": "int", "default": 1}}}
    assert max(map(len, defaults(document).splitlines())) <= 150
