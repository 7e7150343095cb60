# SPDX-License-Identifier: MIT
"""Module systemd_units."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_units
version_added: 0.1.0
short_description: Write, start and remove systemd units in one go
description:
  - Writes unit files, reloads systemd, enables and starts units, and removes others.
  - One task for all of them, because each task on each host costs about a second. Other units stay as they are.
  - For units whose program is written, too, the module M(selfhosted.trigger_dev.file_set) does all of it.
attributes:
  check_mode:
    support: full
    description: Predicts truly, also where the files are missing.
  diff_mode:
    support: full
    description: Shows how the files differ. They must hold no secret.
  platform:
    description: Linux with systemd.
requirements:
  - systemd
options:
  path:
    description: Folder of the unit files. It must be there.
    type: path
    default: /etc/systemd/system
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.units
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Start the timer of a program, without the timer that it had before
  selfhosted.trigger_dev.systemd_units:
    units:
      - {name: example.service, content: "{{ example_service }}"}
      - {name: example.timer, content: "{{ example_timer }}", state: started}
    absent_units: [example-daily.timer, example-daily.service]
"""

RETURN = r"""
written:
  description: Unit files that were written (in check mode, that would be).
  returned: success
  type: list
  elements: str
reloaded:
  description: Whether systemd was told to read unit files again.
  returned: success
  type: bool
enabled:
  description: Units that were enabled.
  returned: success
  type: list
  elements: str
started:
  description: Units that were started, or started again.
  returned: success
  type: list
  elements: str
removed:
  description: Units that were removed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _systemd
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": _systemd.FOLDER},
            "units": _systemd.UNITS,
            "absent_units": _systemd.ABSENT,
        },
        supports_check_mode=True,
    )
    base, units = module.params["path"], [_systemd.Unit(**row) for row in module.params["units"]]
    systemd = _systemd.Systemd(run)
    try:
        result = _systemd.bring_about(systemd, base, units, module.params["absent_units"], dry=module.check_mode)
    except _systemd.UnitError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or base}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
