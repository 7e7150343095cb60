# SPDX-License-Identifier: MIT
"""What is expected of a deployment, and the means to look at one from outside of Ansible."""
