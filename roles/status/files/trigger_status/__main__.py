# SPDX-License-Identifier: MIT
"""The command line: `trigger-status SETTINGS`. It looks at this host, and writes what it finds as a page and as JSON.

It asks modules of the collection that only read, as the playbook status does; Ansible itself is not needed for that.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

PLUGINS = "ansible_collections.selfhosted.trigger_dev.plugins"
ANSIBLE = ("ansible", "ansible.module_utils", "ansible.module_utils.basic")


class AnswerError(Exception):
    """How a module ends, with what it returns."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = result


class RefusedError(Exception):
    """How a module fails; the text says why."""


def filled(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a module with its defaults. Their types are right: the role has written them."""
    unknown = sorted(set(given) - set(spec))
    if unknown:
        raise RefusedError(f"unknown arguments: {', '.join(unknown)}")
    found = {name: given.get(name, row.get("default")) for name, row in spec.items()}
    inner = {name: row["options"] for name, row in spec.items() if row.get("options") and found[name] is not None}
    return {**found, **{name: within(options, found[name]) for name, options in inner.items()}}


def within(spec: Mapping[str, Any], given: Any) -> Any:
    """Fill in the options of an argument that is a dictionary, or a list of them."""
    return [filled(spec, row) for row in given] if isinstance(given, list) else filled(spec, given)


class Host:
    """What modules that only read need of AnsibleModule."""

    check_mode = True

    def __init__(self, given: Mapping[str, Any], argument_spec: Mapping[str, Any]) -> None:
        self.params = filled(argument_spec, given)

    def exit_json(self, **result: Any) -> NoReturn:
        raise AnswerError(result)

    def fail_json(self, msg: str, **_more: Any) -> NoReturn:
        raise RefusedError(msg)


def stand_in() -> None:
    """Let modules be imported where Ansible is not installed, or is an old one."""
    for name in ANSIBLE:
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[ANSIBLE[-1]])["AnsibleModule"] = None


def ask(name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a module returns."""
    module: Any = importlib.import_module(f"{PLUGINS}.modules.{name}")
    before = module.AnsibleModule
    module.AnsibleModule = lambda argument_spec, **_more: Host(arguments, argument_spec)
    try:
        module.main()
    except AnswerError as answer:
        return answer.result
    finally:
        module.AnsibleModule = before
    raise RefusedError("it ends without an answer")


def projects(folder: str) -> dict[str, str]:
    """Find the Compose projects that the roles have deployed on this host, by their names."""
    drift: Any = importlib.import_module(f"{PLUGINS}.module_utils._drift")
    return {name: str(path) for name, path in drift.deployed(Path(folder)).items()}


def checks(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give what is known, and the rows of all modules. One that fails has a row that says so, and hides no other."""
    yield from told["rows"]
    for row in told["modules"]:
        name, arguments = row["name"], dict(row["arguments"])
        try:
            if row.get("projects_below"):
                arguments["projects"] = projects(row["projects_below"])
            yield from ask(name, arguments)["checks"]
        except RefusedError as error:
            yield {"what": name, "ok": False, "detail": str(error)}
        except Exception as error:  # whatever it is: its text could quote what it was read from
            yield {"what": name, "ok": False, "detail": f"ends by {type(error).__name__}"}


def replace(path: Path, text: str, reader: int | None) -> None:
    """Write a file as a whole, for root and a group, if there is one: it says what is wrong with the host."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        if reader is not None:
            os.fchown(file.fileno(), -1, reader)
            os.fchmod(file.fileno(), 0o640)
    os.replace(new, path)


def report(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look, and write what is found."""
    stand_in()
    status = importlib.import_module(f"{PLUGINS}.module_utils._status")
    facts = {**told["facts"], "scope": status.LOCAL, "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
    found: Mapping[str, Any] = status.report({told["host"]: list(checks(told))}, [], facts)
    folder, reader = Path(told["folder"]), told["reader"]
    replace(folder / "status.json", json.dumps(found, indent=2) + "\n", reader)
    replace(folder / "status.html", status.page(found), reader)
    return found


def main() -> int:
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        found = report(told)
    except Exception as error:
        # A disk that is full, for example. What is left says that everything works, and would be served for ever.
        for name in ("status.json", "status.html", ".status.json.new", ".status.html.new"):
            (Path(told["folder"]) / name).unlink(missing_ok=True)
        reason = str(error) if isinstance(error, OSError) else type(error).__name__
        print(f"The page is not written, and the one before is removed: {reason}", file=sys.stderr)
        return 1
    wrong = [check["what"] for host in found["hosts"] for check in host["checks"] if not check["ok"]]
    if wrong:
        print(f"These checks failed: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
