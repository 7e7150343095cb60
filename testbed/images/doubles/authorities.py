# SPDX-License-Identifier: MIT
"""Whom a program in Node trusts: its own CAs, and those of the file that NODE_EXTRA_CA_CERTS names."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping

VARIABLE = "NODE_EXTRA_CA_CERTS"
# Python's newest defaults; Node is neither as strict about a certificate's form nor content with half a chain.
_NOT_OF_NODE = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def trusted(environment: Mapping[str, str]) -> ssl.SSLContext:
    """A file that cannot be read or holds no certificate is a line on stderr and nothing else."""
    context = ssl.create_default_context()
    context.verify_flags &= ~_NOT_OF_NODE
    path = environment.get(VARIABLE, "")
    if path:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as failure:  # ssl.SSLError is one
            print(f"Warning: Ignoring extra certs from `{path}`, load failed: {failure}", file=sys.stderr, flush=True)
    return context
