# SPDX-License-Identifier: MIT
"""Lookup setting_problems: what is wrong with the settings of a role, by its rules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: setting_problems
version_added: 0.1.0
short_description: Check the settings of a role by its rules
description:
  - Gives a sentence for each rule that a setting breaks, with the variable to set.
  - A rule has O(_terms[].settings) and what they need, or O(_terms[].wrong) and O(_terms[].message) where these keys
    cannot express it. The variables that a rule names are read only if the rule applies, and so is its message.
  - A setting that is V(null), V(false) or empty counts as not set.
options:
  _terms:
    description: The rules, in the order of their sentences.
    type: list
    elements: dict
    required: true
    suboptions:
      settings:
        description: The setting that the rule is for, or a list of them, each on its own. It applies if that is set.
        type: raw
      is:
        description:
          - The rule applies only if the setting has this value, which may be V(false).
          - Numbers are compared as numbers, also one written as text. So they are in O(_terms[].unless) and
            O(_terms[].with).
        type: raw
      unless:
        description: The rule does not apply if the setting has this value.
        type: raw
      needs:
        description: Settings that must be set, too.
        type: list
        elements: str
      needs_any:
        description: Settings of which one must be set, too.
        type: list
        elements: str
      with:
        description: Settings that must have a certain value, with it.
        type: dict
      switch:
        description: >-
          Switch without which the setting has no effect. The rule applies where the inventory or the command line sets
          the one, and the switch is off or empty by default. An inventory that turns it off itself keeps the rest for
          later.
        type: str
      at_most:
        description: Setting whose number this one must not exceed. 0 there is no limit.
        type: str
      feature:
        description: What the selected version of Trigger.dev must be able to do.
        type: str
      since:
        description: Release series that can do it first. Part of the message.
        type: str
      wrong:
        description: Expression that is true where the settings do not fit together.
        type: bool
      message:
        description: The sentence for it, which names the variable to set.
        type: str
  values:
    description: What a name in the rules stands for, where that is not the variable of this name.
    type: dict
    default: {}
  features:
    description: What the selected version of Trigger.dev can do.
    type: list
    elements: str
    default: []
  version:
    description: The selected version. Part of the message.
    type: str
    default: ""
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
# "webapp_smtp_username is set, so webapp_smtp_password must be set too."
- name: Check the settings for mail
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ query('selfhosted.trigger_dev.setting_problems', *rules) }}"
    rules:
      - {settings: webapp_smtp_username, needs: [webapp_smtp_password]}
      - wrong: "{{ webapp_port == trigger_registry_port }}"
        message: "webapp_port and trigger_registry_port must differ; both are {{ webapp_port }}."
"""

RETURN = r"""
_list:
  description: The problems.
  type: list
  elements: str
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

Rule = Mapping[str, Any]
# Gives the value of a setting.
Read = Callable[[str], Any]

SETTING_KEYS = frozenset(
    {"settings", "is", "unless", "needs", "needs_any", "with", "switch", "at_most", "feature", "since"}
)
EXPRESSION_KEYS = frozenset({"wrong", "message"})


def key_problem(rule: Rule) -> str:
    """Say what is wrong with the keys of a rule."""
    keys = set(rule)
    if unknown := sorted(keys - SETTING_KEYS - EXPRESSION_KEYS):
        return f"a rule has the unknown keys {', '.join(unknown)}"
    if keys != EXPRESSION_KEYS and ("settings" not in keys or keys & EXPRESSION_KEYS):
        return f"a rule has settings, or wrong and message, and this one has {', '.join(sorted(keys))}"
    if ("feature" in keys) != ("since" in keys):
        return "a rule has feature and since together"
    return ""


def _is_set(value: object) -> bool:
    """Say whether a setting has a value at all; zero is one."""
    return value is not None and value is not False and value != "" and value != {} and value != []


def _number(value: object) -> float | None:
    """Give the number that a value is, which may be written as text: rows allow that, for -e name=5."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _equals(value: object, right: object) -> bool:
    """Compare a setting with the value of a rule, as numbers where that is one."""
    if isinstance(right, (int, float)) and not isinstance(right, bool):
        return _number(value) == right
    return bool(value == right)


def _applies(rule: Rule, value: object) -> bool:
    if "is" in rule:
        return _equals(value, rule["is"])
    return _is_set(value) and ("unless" not in rule or not _equals(value, rule["unless"]))


def _as_yaml(value: object) -> str:
    """Give a value as inventories hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _broken(rule: Rule, name: str, value: Any, read: Read) -> Iterator[str]:
    """Give what a setting that has this value needs and does not have."""
    state = f"{name} is {_as_yaml(rule['is']) if 'is' in rule else 'set'}"
    missing = [other for other in rule.get("needs", ()) if not _is_set(read(other))]
    if missing:
        yield f"{state}, so {' and '.join(missing)} must be set too."
    for other, right in rule.get("with", {}).items():
        if not _equals(read(other), right):
            yield f"{state}, so {other} must be {_as_yaml(right)}, is {_as_yaml(read(other))}. Change one of them."
    if "needs_any" in rule and not any(_is_set(read(other)) for other in rule["needs_any"]):
        yield f"{state}, but has no effect without {' or '.join(rule['needs_any'])}."
    if "at_most" in rule:
        limit = read(rule["at_most"])
        if 0 < float(limit) < float(value):
            shown = repr(value) if isinstance(value, str) else value
            yield f"{name} is {shown}; it must not exceed {rule['at_most']} ({limit}). Change one of them."


def setting_problems(
    rules: Iterable[Rule], read: Read, features: Collection[str] = (), version: str = "", given: Collection[str] = ()
) -> Iterator[str]:
    """Give a sentence for each rule that is broken. Given are the names that the inventory or the command line sets."""
    for rule in rules:
        if problem := key_problem(rule):
            raise AnsibleError(f"setting_problems: {problem}")
        if "wrong" in rule:
            if rule["wrong"]:
                yield str(rule["message"])
            continue
        names = rule["settings"]
        for name in [names] if isinstance(names, str) else names:
            value = read(name)
            if not _applies(rule, value):
                continue
            if "feature" in rule and rule["feature"] not in features:
                since = f"{name} exists from Trigger.dev {rule['since']} on"
                yield f"{since}, and trigger_version is {version}: leave it out."
            switch = rule.get("switch", "")
            if switch and name in given and not read(switch) and switch not in given:
                values = ("a value", '""') if read(switch) == "" else ("true", "false")
                yield (
                    f"{name} is set, but has no effect without {switch}. Set {switch} to {values[0]}, or to {values[1]}"
                    " if that is what you want for now."
                )
            yield from _broken(rule, name, value, read)


def reader(template: Callable[[Any], Any], variables: Mapping[str, Any], values: Mapping[str, Any]) -> Read:
    """Give the function that reads a setting: from the given values, or from the variables of the host."""

    def read(name: str) -> Any:
        if name in values:
            return values[name]
        if name not in variables:
            raise AnsibleError(f"setting_problems: a rule names {name}, and there is no such variable")
        return template(variables[name])

    return read


def _given(variables: Mapping[str, Any]) -> Collection[str]:
    """Name what is set for this host outside of roles and plays."""
    hostvars, host = variables.get("hostvars"), variables.get("inventory_hostname")
    return hostvars.raw_get(host) if hostvars and host else ()


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: Sequence[Rule], variables: Mapping[str, Any] | None = None, **kwargs: object) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        read = reader(self._templar.template, variables or {}, self.get_option("values"))
        features, version = self.get_option("features"), self.get_option("version")
        return list(setting_problems(terms, read, features, version, _given(variables or {})))
