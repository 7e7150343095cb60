# SPDX-License-Identifier: MIT
"""Writes metrics of an installation of Trigger.dev that no exporter has, for node_exporter's textfile collector.

The role `monitoring` puts it on each host.
"""
