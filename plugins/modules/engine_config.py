# SPDX-License-Identifier: MIT
"""Module engine_config."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_config
version_added: 0.1.0
short_description: Merge settings into the Docker Engine's daemon.json and apply them
description:
  - Merges settings into C(daemon.json) and keeps what the operator has put there. A running engine takes the settings
    over by a reload where that is enough, otherwise by a restart.
  - What the module has put into the file before follows O(settings), and goes when it is not asked for any more. A key
    that the operator has set to another value stays, and is reported in RV(engine_config.kept). Lists are united.
    Dictionaries such as C(log-opts) are merged key by key in the same way.
  - Where the operator has another C(log-driver), C(log-opts) are left alone as well, because the engine refuses options
    that the driver does not know.
  - The engine is never restarted while runner containers live, because they are lost even with C(live-restore).
    The task then fails before it changes anything.
  - Nor is it restarted with another folder of data (C(data-root)) while it has containers or volumes. It would begin
    without them. The task fails before it changes anything.
  - Nor is it restarted with another image store or storage driver while it has containers. It would not see them.
  - Where C(insecure-registries) is asked for, or is in the file, the loopback addresses are added to it. Engines from
    29.10 on trust them without TLS only if they are named there.
  - When nothing changes, neither the file nor the engine is touched. A run that was interrupted between writing the
    file and telling the engine is made good by the next one.
  - If the engine does not come back with the new file, the former one is put back.
attributes:
  check_mode:
    support: full
    description: Predicts truly, also that a restart would be refused.
  diff_mode:
    support: full
    description: Shows C(daemon.json) before and after.
  platform:
    description: Linux with systemd.
requirements:
  - systemd, and the C(docker) command if the engine is running
options:
  settings:
    description: Settings, as C(daemon.json) has them.
    type: dict
    required: true
  path:
    description: Path of the file. Its folder is made if it is missing.
    type: path
    default: /etc/docker/daemon.json
  state_path:
    description:
      - Path of the file in which the module remembers what it has put into O(path).
      - Unset means O(path) with C(.trigger_dev) at its end.
    type: path
  service:
    description:
      - Name of the engine's systemd service. While it is not running the file is written and nothing is applied.
    type: str
    default: docker
  runner_name_pattern:
    description: Regular expression for the names of the containers that must not live when the engine is restarted.
    type: str
    default: ^/?runner-
  empty_data_root_allowed:
    description: Whether containers and volumes of the engine may be left behind where it has them now.
    type: bool
    default: false
  timeout:
    description: Seconds that the engine may take to come back, or to take over what was reloaded.
    type: int
    default: 60
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Rotate logs and keep containers alive when the engine restarts
  selfhosted.trigger_dev.engine_config:
    settings:
      live-restore: true
      log-driver: json-file
      log-opts:
        max-size: 20m
        max-file: "5"
      insecure-registries:
        - control.example.com:5000
"""

RETURN = r"""
engine_config:
  description: The configuration as it is now (in check mode, as it would be).
  returned: success
  type: dict
  contains:
    path:
      description: Path of the file.
      type: str
      returned: success
    settings:
      description: Content of the file.
      type: dict
      returned: success
    kept:
      description: Settings that were asked for but that the operator has set otherwise, with dots between nested keys.
      type: list
      elements: str
      returned: success
applied:
  description: What the engine was made to do (in check mode, what it would be made to do).
  returned: success
  type: str
  sample: reload
"""

import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import NO_PROGRAM, Run, run
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._merge import MISSING, merge, same

NONE = "none"
RELOAD = "reload"
RESTART = "restart"
ACTIONS = (NONE, RELOAD, RESTART)

# What dockerd takes over on SIGHUP (reference of dockerd, "Configuration reload behavior"). It reloads `features` too,
# but the image store that they choose is that of its start.
RELOADABLE = frozenset(
    {
        "authorization-plugins",
        "debug",
        "default-runtime",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
FILE_MODE = 0o644
STATE_MODE = 0o600
PAUSE_SECONDS = 0.5
REGISTRIES = "insecure-registries"
# From 29.10 on, dockerd trusts registries of its own host without TLS only where that list is not set at all, or has
# them (release notes of 29.10.0, moby pull 53868). Before that it always did, so there this changes nothing. The module
# registry_image pushes to such an address.
LOOPBACK = ("127.0.0.0/8", "::1/128")
# What `docker info` has in DriverStatus where containerd keeps the images.
CONTAINERD_STORE = "io.containerd.snapshotter.v1"
# Where dockerd keeps its data if nothing says otherwise.
DATA_ROOT = "/var/lib/docker"


class ConfigError(Exception):
    """Something that the user must set right."""


@dataclass(frozen=True)
class Parameters:
    settings: Mapping[str, Any]
    path: str
    state_path: str
    service: str
    runner_name_pattern: re.Pattern[str]
    timeout: int
    empty_data_root_allowed: bool = False


@dataclass(frozen=True)
class State:
    """What we have put into the file. `intended` and `pending` are there while a run is under way."""

    ours: Mapping[str, Any]
    intended: Mapping[str, Any]
    pending: str


@dataclass(frozen=True)
class Plan:
    settings: Mapping[str, Any]
    ours: Mapping[str, Any]
    kept: list[str]
    action: str
    write: bool
    remember: bool


@dataclass(frozen=True)
class Data:
    """Where a running engine has its data: folder and store of its images; and whether it has any."""

    root: str
    driver: str
    in_containerd: bool
    containers: bool
    volumes: bool


def parameters(params: Mapping[str, Any]) -> Parameters:
    # A link stays a link: what it points to is replaced.
    path = os.path.realpath(params["path"])
    try:
        pattern = re.compile(params["runner_name_pattern"])
    except re.error as error:
        raise ConfigError(f"runner_name_pattern is not a regular expression: {error}") from None
    state_path = params["state_path"] or f"{path}.trigger_dev"
    return Parameters(
        params["settings"],
        path,
        state_path,
        params["service"],
        pattern,
        params["timeout"],
        params["empty_data_root_allowed"],
    )


def parse(text: str, path: str) -> dict[str, Any]:
    """Read a JSON object; dockerd takes an empty file for an empty one."""
    if not text.strip():
        return {}
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}). Nothing was changed; "
            "repair the file and run the playbook again."
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object. Nothing was changed; repair the file.")
    return content


def parse_state(text: str, path: str) -> State:
    content = parse(text, path)
    return State(content.get("ours", {}), content.get("intended", {}), content.get("pending", NONE))


def render(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def action_needed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Decide by the keys that differ."""
    changed = {key for key in {*before, *after} if not same(before.get(key, MISSING), after.get(key, MISSING))}
    if not changed:
        return NONE
    return RELOAD if changed <= RELOADABLE else RESTART


def with_loopback(
    current: Mapping[str, Any], wanted: Mapping[str, Any], applied: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Ask for the host's own registries as well, where the file would name others, or an empty list."""
    if not wanted:
        return wanted
    named = wanted.get(REGISTRIES) or []
    theirs = REGISTRIES in merge(current, {**wanted, REGISTRIES: []}, applied).value
    # Beside an empty list of the operator's, these alone were ours. It cannot be told any more, but nothing else leads
    # there, and without them the next run would take away what this one brings.
    alone = REGISTRIES in current and any(list(LOOPBACK) == before.get(REGISTRIES) for before in applied)
    if not named and not theirs and not alone:
        return wanted
    return {**wanted, REGISTRIES: [*named, *(one for one in LOOPBACK if one not in named)]}


def plan(current: Mapping[str, Any], state: State, wanted: Mapping[str, Any], running: bool) -> Plan:
    """Decide what the file shall hold and what the engine has to be told."""
    applied = [state.ours, state.intended]
    wanted = with_loopback(current, wanted, applied)
    merged = merge(current, wanted, applied)
    if "log-driver" in merged.kept:
        merged = merge(current, {name: wanted[name] for name in wanted if name != "log-opts"}, applied)
        merged.kept.extend(name for name in wanted if name == "log-opts")
    # An interrupted run may have written the file without telling the engine; one that does not run reads it anyway.
    actions = (action_needed(current, merged.value), state.pending if state.pending in ACTIONS else NONE)
    action = max(actions, key=ACTIONS.index) if running else NONE
    return Plan(
        merged.value,
        merged.ours,
        merged.kept,
        action,
        write=not same(current, merged.value),
        remember=state != State(merged.ours, {}, NONE),
    )


def loaded(info: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Name the settings that the engine's own account shows not to be in force. A reload never reports an error."""
    registries = info.get("RegistryConfig") or {}
    known = {
        *(registries.get("InsecureRegistryCIDRs") or ()),
        *(name for name, index in (registries.get("IndexConfigs") or {}).items() if not index.get("Secure", True)),
    }
    checks: dict[str, Callable[[Any], bool]] = {
        "live-restore": lambda value: info.get("LiveRestoreEnabled") is value,
        "labels": lambda value: set(value) <= set(info.get("Labels") or ()),
        REGISTRIES: lambda value: set(value) <= known,
    }
    return [name for name, check in checks.items() if name in settings and not check(settings[name])]


class Engine:
    """The engine on this host."""

    def __init__(
        self, runner: Run, wanted: Parameters, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        self.run = runner
        self.service = wanted.service
        self.timeout = wanted.timeout
        self.clock = clock
        self.pause = pause
        self.restarted = False

    def running(self) -> bool:
        done = self.run(["systemctl", "is-active", "--quiet", self.service])
        if done.code == NO_PROGRAM:
            raise ConfigError("cannot tell whether the engine is running: there is no systemctl")
        return done.code == 0

    def live(self, pattern: re.Pattern[str]) -> list[str]:
        done = self.run(["docker", "ps", "--format", "{{.Names}}"])
        if done.code != 0:
            raise ConfigError(f"cannot tell whether runner containers live, so the engine is left alone: {done.error}")
        return [name for name in done.stdout.split() if pattern.search(name)]

    def data(self) -> Data:
        """Tell where its data is, and what is there."""
        info, volumes = (
            self.run(["docker", "info", "--format", "{{json .}}"]),
            self.run(["docker", "volume", "ls", "--quiet"]),
        )
        for done in (info, volumes):
            if done.code != 0:
                raise ConfigError(f"cannot tell what the engine has, so it is left alone: {done.error}")
        told = json.loads(info.stdout)
        return Data(
            str(told["DockerRootDir"]),
            str(told["Driver"]),
            any(CONTAINERD_STORE in row for row in told.get("DriverStatus") or ()),
            bool(told["Containers"]),
            bool(volumes.stdout.split()),
        )

    def control(self, verb: str) -> None:
        self.restarted |= verb == RESTART
        done = self.run(["systemctl", verb, self.service], timeout=300)
        if done.code != 0:
            raise ConfigError(f"systemctl {verb} {self.service}: {done.error}")

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Wait until the engine answers and has the settings in force; a reload is over before they are."""
        end = self.clock() + self.timeout
        while True:
            done = self.run(["docker", "info", "--format", "{{json .}}"])
            # Newer command lines end with 0 although no engine answers.
            info = json.loads(done.stdout) if done.code == 0 else {}
            answers = bool(info.get("ServerVersion"))
            missing = loaded(info, settings) if answers else []
            if answers and not missing:
                return
            if self.clock() >= end:
                why = f"has not taken over {', '.join(missing)}" if missing else f"does not answer: {done.error}"
                raise ConfigError(f"after {self.timeout} s the engine {why}")
            self.pause(PAUSE_SECONDS)

    def apply(self, decided: Plan) -> None:
        # Of the operator's settings the engine may show another spelling, so only ours are looked for.
        expected = {name: value for name, value in decided.ours.items() if name in RELOADABLE}
        keeps_containers = decided.settings.get("live-restore") is True
        if keeps_containers:
            expected["live-restore"] = True
        if decided.action == RELOAD or (decided.action == RESTART and keeps_containers):
            # Containers survive the restart only if live-restore is in force before it.
            self.control(RELOAD)
            self.settle(expected)
        if decided.action == RESTART:
            self.control(RESTART)
            self.settle(expected)


def validate(runner: Run, path: str, text: str) -> None:
    """Let dockerd look at the file first, if it is 23.0 or newer; an older one does not know the flag."""
    if "--validate" not in runner(["dockerd", "--help"]).stdout:
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as candidate:
        candidate.write(text)
        candidate.flush()
        done = runner(["dockerd", "--validate", "--config-file", candidate.name])
    if done.code != 0:
        error = done.error.replace(candidate.name, path)
        raise ConfigError(f"dockerd refuses the new {path}, so nothing was changed: {error}")


def read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def write_state(path: str, state: State) -> None:
    content = {"ours": state.ours, "intended": state.intended, "pending": state.pending}
    write_atomically(
        path, render(content if state.intended or state.pending != NONE else {"ours": state.ours}), STATE_MODE
    )


def change(wanted: Parameters, engine: Engine, before: str | None, state: State, decided: Plan) -> None:
    """Carry the plan out, in an order that can be resumed after each step."""
    os.makedirs(os.path.dirname(wanted.path), mode=0o755, exist_ok=True)
    if decided.write or decided.action != NONE:
        write_state(wanted.state_path, State(state.ours, decided.ours, decided.action))
    if decided.write:
        mode = FILE_MODE if before is None else stat.S_IMODE(os.stat(wanted.path).st_mode)
        write_atomically(wanted.path, render(decided.settings), mode)
    try:
        engine.apply(decided)
    except ConfigError as error:
        raise ConfigError(f"{error}. {take_back(wanted, engine, before, state, decided)}") from None
    write_state(wanted.state_path, State(decided.ours, {}, NONE))


def take_back(wanted: Parameters, engine: Engine, before: str | None, state: State, decided: Plan) -> str:
    """Put the former file back after a failure, and say how that went."""
    hint = f"The reason is in the log: journalctl -u {wanted.service}"
    if not decided.write:
        return hint
    if before is None:
        os.unlink(wanted.path)
    else:
        write_atomically(wanted.path, before, stat.S_IMODE(os.stat(wanted.path).st_mode))
    write_state(wanted.state_path, state)
    try:
        if engine.restarted:
            # After several failures in a row systemd refuses to try again.
            engine.run(["systemctl", "reset-failed", wanted.service])
        engine.control(RESTART if engine.restarted else RELOAD)
        engine.settle({})
    except ConfigError as error:
        return f"The former {wanted.path} is back, but the engine did not come back with it either ({error}). {hint}"
    return f"The former {wanted.path} is back and the engine runs with it. {hint}"


def refuse_restart(names: Sequence[str]) -> None:
    if names:
        raise ConfigError(
            f"The engine would have to be restarted, but runner containers live ({', '.join(sorted(names))}) and would "
            "be lost with their runs. Nothing was changed. Drain the worker first (playbook worker_drain), "
            "then run the playbook again."
        )


def refuse_empty_root(data: Data, settings: Mapping[str, Any]) -> None:
    """Compare folders and not their names, of which some may be links."""
    current, new = data.root, str(settings.get("data-root", DATA_ROOT))
    used = data.containers or data.volumes
    if used and os.path.realpath(new) != os.path.realpath(current):
        raise ConfigError(
            f"The engine would be restarted with its data in {new}, but its containers and volumes are in {current}. "
            f"Nothing was changed. Set data-root in docker_engine_extra_config to {current}. To move the data, stop "
            "the engine, copy the folder, and set data-root in daemon.json to the new one yourself."
        )


def snapshotter(settings: Mapping[str, Any]) -> Any:
    """Tell whether containerd is asked to keep the images; None where that is left to the engine."""
    features = settings.get("features")
    return features.get("containerd-snapshotter") if isinstance(features, Mapping) else None


def refuse_other_store(data: Data, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """An engine shows only the images and containers of the store and the driver that it runs with."""
    asked = snapshotter(settings)
    # Left to itself an engine stays with the classic store where it has one. Before 29 it also leaves containerd's.
    in_containerd = (data.in_containerd and snapshotter(before) is not True) if asked is None else bool(asked)
    driver = settings.get("storage-driver", data.driver)
    # Containerd has names of its own for what drivers were called before, so there only a new value tells something.
    new_driver = driver != data.driver and not (data.in_containerd and driver == before.get("storage-driver"))
    changes = {
        "features.containerd-snapshotter": in_containerd != data.in_containerd,
        "storage-driver": new_driver,
    }
    names = " and ".join(name for name, changed in changes.items() if changed)
    if data.containers and names:
        now = "containerd's store" if data.in_containerd else "the classic store"
        raise ConfigError(
            f"The engine would be restarted with another {names}. It would lose sight of its containers and images, "
            f"which are in {now} (driver {data.driver}). Nothing was changed. Leave {names} as it was, in "
            "docker_engine_extra_config and daemon.json. To change it, remove all containers first (playbook "
            "uninstall, which keeps the data), then run the playbook again."
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "state_path": {"type": "path"},
            "service": {"type": "str", "default": "docker"},
            "runner_name_pattern": {"type": "str", "default": "^/?runner-"},
            "empty_data_root_allowed": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params)
        engine = Engine(run, wanted, time.monotonic, time.sleep)
        before = read(wanted.path)
        current = parse(before or "", wanted.path)
        state = parse_state(read(wanted.state_path) or "", wanted.state_path)
        decided = plan(current, state, wanted.settings, engine.running())
        changed = decided.write or decided.action != NONE
        if decided.action == RESTART:
            refuse_restart(engine.live(wanted.runner_name_pattern))
        if decided.action == RESTART and not wanted.empty_data_root_allowed:
            data = engine.data()
            refuse_empty_root(data, decided.settings)
            refuse_other_store(data, current, decided.settings)
        if decided.write:
            validate(run, wanted.path, render(decided.settings))
        if (changed or decided.remember) and not module.check_mode:
            change(wanted, engine, before, state, decided)
    except ConfigError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=changed,
        applied=decided.action,
        engine_config={"path": wanted.path, "settings": dict(decided.settings), "kept": decided.kept},
        diff={
            "before_header": wanted.path,
            "after_header": wanted.path,
            "before": before or "",
            "after": render(decided.settings) if decided.write else before or "",
        },
    )


if __name__ == "__main__":
    main()
