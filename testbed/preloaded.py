# SPDX-License-Identifier: MIT
"""Runs ansible-playbook in less time: python -m testbed.preloaded ARGUMENTS, which are those of ansible-playbook.

Ansible forks for every task on every host, and each fork loads the plugins that it needs, which end with it. Loaded
before, they are there in all of them (measured: a third of the controller's processor time). So are the roles. What
needs no fork gets none, and a variable is computed once for a template, not each time that another one names it.

This replaces private parts of Ansible. So it is used only where SHORTCUTS is set, as `make test` does on a machine of
two processors; `make test SHORTCUTS=`, the single parts, `make soak` and CI of the repository run Ansible as it is.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from ansible import cli, constants
from ansible._internal import _task
from ansible._internal._templating import _engine, _jinja_bits, _utils
from ansible.cli.playbook import PlaybookCLI
from ansible.executor.process.worker import WorkerProcess
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.module_utils._internal import _datatag
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader

from .common import CACHE, LABEL, ROOT, docker

SHORTCUTS = bool(os.environ.get("SHORTCUTS"))
COLLECTION = "selfhosted.trigger_dev"
PLUGINS = ROOT / "plugins"
PACKAGES = Path(cli.__file__).parents[2]
ACTIONS = ("assert", "command", "debug", "fail", "include_role", "include_tasks", "normal", "validate_argument_spec")
# What they do is done by the controller alone, and takes no longer than to compute their arguments.
COMPUTED = ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")
# What the engine gives to a command in a node.
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "container=docker")
# Not those that read variables: Ansible sets them up when they are first loaded.
KINDS = ("become", "callback", "connection", "inventory", "lookup", "shell", "strategy")


def load() -> None:
    """Load what every task would load again in a process of its own."""
    loader.init_plugin_loader()
    for jinja in (loader.filter_loader, loader.test_loader):
        list(jinja.all())
    for kind in KINDS:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for name in ACTIONS:
        loader.action_loader.get(f"ansible.builtin.{name}", class_only=True)
    for path in PLUGINS.glob("filter/*.py"):
        name = f"{COLLECTION}.{path.stem}"
        # Unless it is known here, every task looks for it in all files of the collection.
        loader.filter_loader._cached_non_collection_wrappers[name] = loader.filter_loader.get(name)
    for path in PLUGINS.glob("lookup/*.py"):
        loader.lookup_loader.get(f"{COLLECTION}.{path.stem}", class_only=True)
    # These processes do not live long enough to need it.
    gc.disable()


def read_roles() -> None:
    """Parse the files of all roles, and compile their templates, which every task would do again."""
    files = DataLoader()
    cli.DataLoader = lambda: files
    # A run copies what it takes from there. Texts never change, and are most of it.
    _datatag._AnsibleTaggedStr.__deepcopy__ = lambda text, _: text
    keep_compiled_templates()
    keep_computed_variables()
    compute_here()
    engine = _engine.TemplateEngine(files)
    # By the path that Ansible finds them at.
    (collection,) = importlib.import_module(f"ansible_collections.{COLLECTION}").__path__
    for path in Path(collection).glob("roles/*/*/**/*.yml"):
        # Rules of Prometheus have templates of another kind. What is in `files` is copied as it is.
        if "files" in path.relative_to(collection).parts:
            continue
        for template in templates(files.load_from_file(str(path), trusted_as_template=True)):
            engine._compile_template(template, _engine.TemplateOptions.DEFAULT)


def templates(value: object) -> Iterator[str]:
    """Find the templates in what a file holds."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from templates(item)
    elif isinstance(value, str) and "{{" in value:
        yield value


def keep_compiled_templates() -> None:
    """Let Ansible compile a template once instead of at each use (measured: half of a task's processor time)."""
    compile_anew = _jinja_bits.AnsibleEnvironment.compile
    codes: dict[str, CodeType] = {}

    def compile_once(environment: Any, source: Any, *args: Any, **options: Any) -> Any:
        context = _jinja_bits._TemplateCompileContext.current(optional=True)
        # The code depends on these two as well; of templates in YAML they are always like this.
        usual = context and context.escape_backslashes and not environment.overlayed
        if not usual or not isinstance(source, str):
            return compile_anew(environment, source, *args, **options)
        if source not in codes:
            codes[source] = compile_anew(environment, source, *args, **options)
        return codes[source]

    _jinja_bits.AnsibleEnvironment.compile = compile_once


def keep_computed_variables() -> None:
    """Let variables keep their values until the template that names them is done.

    Ansible computes a variable anew in each variable that names it, and sets up all variables for it (measured: two
    thirds of the processor time of checks). They cannot change before the outermost template is done.
    """
    set_up = _jinja_bits._flatten_and_lazify_vars
    kept: dict[tuple[int, int], tuple[object, ...]] = {}
    outermost: object = None

    def set_up_once(variables: Any) -> Iterator[Any]:
        nonlocal outermost
        if type(variables) is not dict:
            yield from set_up(variables)
            return
        context = _utils.TemplateContext.current()
        engine = context.templar
        while not context.is_top_level:
            context = context._parent_ctx
        if outermost is not context:
            outermost = context
            kept.clear()
        # Both are held, so that no other object gets their numbers meanwhile.
        key = (id(variables), id(engine))
        if key not in kept:
            kept[key] = (variables, engine, *set_up(variables))
        yield from kept[key][2:]

    _jinja_bits._flatten_and_lazify_vars = set_up_once


def compute_here() -> None:
    """Let tasks that only compute be done by this process (measured: a third of the processor time of checks)."""
    fork = WorkerProcess.start
    here = {f"ansible.{prefix}.{name}" for prefix in ("builtin", "legacy") for name in COMPUTED}

    def start(worker: Any) -> None:
        if worker._task.action not in here:
            fork(worker)
            return
        # As in a fork, what is computed for the task on this host stays out of the next one.
        task = worker._task.copy(exclude_parent=True, exclude_tasks=True)
        task._parent = worker._task._parent
        given = (worker._task_vars, worker._play_context, worker._loader, worker._shared_loader_obj)
        with _task.TaskContext(task):
            result = TaskExecutor(worker._host, task, *given, worker._final_q, worker._variable_manager).run()
        fields = task.dump_attrs()
        worker._final_q.send_task_result(
            _RawTaskResult(host=worker._host, task=task, return_data=result, task_fields=fields)
        )

    WorkerProcess.start = start


def keep_built_modules() -> None:
    """Let plays find what others have built for hosts (measured: a quarter of the controller's processor time)."""
    sources = sorted(path for kind in ("modules", "module_utils") for path in (PLUGINS / kind).rglob("*.py"))
    # Where something is installed, the folder of the packages changes.
    facts = [(str(path), (found := path.stat()).st_mtime_ns, found.st_size) for path in [*sources, PACKAGES]]
    kept = CACHE / "modules" / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(kept)


def enter_nodes() -> None:
    """Go into nodes as their engine does, without asking it (measured: 2 ms of processor time a task instead of 65)."""
    tool = shutil.which("nsenter")
    running = docker("ps", "--quiet", "--filter", f"label={LABEL}").split()
    if os.geteuid() != 0 or not tool or not running:
        return
    template = "{{slice .Name 1}} {{.State.Pid}}"
    found = dict(line.split() for line in docker("inspect", "--format", template, *running).splitlines())
    plugin = loader.connection_loader.get("community.docker.docker", class_only=True)
    ask = plugin._build_exec_cmd

    def enter(connection: Any, command: list[str]) -> list[str]:
        process = found.get(connection.get_option("remote_addr"))
        # One that was stopped meanwhile is the engine's affair.
        if process is None or not Path("/proc", process).exists():
            return list(ask(connection, command))
        return [tool, "--target", process, *NAMESPACES, "--", "env", "--ignore-environment", *ENVIRONMENT, *command]

    plugin._build_exec_cmd = enter


def play_computed(arguments: list[str]) -> None:
    """Play what needs no host and no role, so that nothing is loaded before it is needed."""
    keep_compiled_templates()
    keep_computed_variables()
    compute_here()
    play(arguments)


def play(arguments: list[str]) -> None:
    """Do what the command does; ends with SystemExit where the command ends with a code."""
    PlaybookCLI.cli_executor(["ansible-playbook", *arguments])


if __name__ == "__main__":
    load()
    keep_built_modules()
    enter_nodes()
    read_roles()
    play(sys.argv[1:])
