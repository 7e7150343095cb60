# SPDX-License-Identifier: MIT
"""Action secret_file: runs the module, hides its result, shows its error."""

from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._secret_result import ActionModule

__all__ = ["ActionModule"]
