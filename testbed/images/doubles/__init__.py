# SPDX-License-Identifier: MIT
"""Strict stand-ins for the programs that no package registry carries, and the pure logic that they share."""
