# SPDX-License-Identifier: MIT
"""Everything around the deployment: engine, images, the lab, and the client of the hello run."""
