# SPDX-License-Identifier: MIT
"""Backs up an installation of Trigger.dev, tries its backups, and restores them.

The role `backup` puts it on the control host.
"""
