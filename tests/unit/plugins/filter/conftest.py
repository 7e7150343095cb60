# SPDX-License-Identifier: MIT
"""How long an example takes tells of the machine, which may be busy, and not of a filter."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A failure in CI says how to repeat it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("any machine")
