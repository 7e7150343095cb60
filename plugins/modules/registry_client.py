# SPDX-License-Identifier: MIT
"""Module registry_client."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_client
version_added: 0.1.0
short_description: Make a host resolve and trust a registry
description:
  - Has the address of the registry in C(/etc/hosts), if one is given, and the certificate of its private CA
    where Docker looks for it. Docker needs no restart for either.
  - What this module wrote carries a mark, and only that is ever changed or removed. Without an address or a CA
    it takes its own entries away, those for a former name of the registry as well.
  - One module for both, because each task on each host costs about a second.
attributes:
  check_mode:
    support: full
    description: Predicts truly.
  diff_mode:
    support: full
    description: Shows the lines of C(/etc/hosts) and the certificates, which are no secret.
options:
  registry:
    description: The registry as image references name it, C(host[:port]).
    type: str
    required: true
  address:
    description: IPv4 address of its host. Empty means that the name is resolved without this module's help.
    type: str
    default: ""
  ca_certificates:
    description: Certificates of the private CA in PEM. Empty means that the registry needs none.
    type: str
    default: ""
  hosts_file:
    description: File with the names of hosts.
    type: path
    default: /etc/hosts
  certificates_directory:
    description: Folder in which Docker looks for CAs, one folder for each registry.
    type: path
    default: /etc/docker/certs.d
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
author:
  - The selfhosted.trigger_dev maintainers
seealso:
  - module: selfhosted.trigger_dev.registry_login
"""

EXAMPLES = r"""
- name: Have the registry resolved and trusted
  selfhosted.trigger_dev.registry_client:
    registry: registry.example.com
    address: 10.0.0.5
    ca_certificates: "{{ lookup('ansible.builtin.file', 'root.pem') }}"
"""

RETURN = r"""
registry_client:
  description: What is there now.
  returned: success
  type: dict
  contains:
    registry:
      description: The registry.
      type: str
      returned: success
    address:
      description: Address in the file of names, empty where this module has none there.
      type: str
      returned: success
    ca_file:
      description: File with the CA, empty where there is none.
      type: str
      returned: success
"""

import errno
import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _python  # noqa: F401 (first of all)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._file import write_atomically
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._registry import MARK, RegistryError, host_of

HEADER = f"# {MARK}\n"
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
FILE = "ca.crt"


@dataclass(frozen=True)
class Parameters:
    registry: str
    host: str
    address: str
    ca_certificates: str
    hosts_file: Path
    directory: Path

    @property
    def ca_file(self) -> Path:
        return self.directory / self.registry / FILE


def certificates(text: str) -> list[str]:
    """Give the certificates alone, each without its line breaks."""
    return ["".join(found.split()) for found in CERTIFICATE.findall(text)]


def parameters(params: Mapping[str, Any]) -> Parameters:
    registry, address, ca_certificates = params["registry"], params["address"], params["ca_certificates"].strip()
    host = host_of(registry)
    if address:
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise RegistryError(f"address must be an IPv4 address, is {address!r}") from None
        if re.fullmatch(r"[0-9.]+", host):
            raise RegistryError(f"the registry is {registry}, an address itself, so no address can be given to it")
    if ca_certificates and not certificates(ca_certificates):
        raise RegistryError("ca_certificates holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    directory = Path(params["certificates_directory"])
    return Parameters(registry, host, address, ca_certificates, Path(params["hosts_file"]), directory)


def with_address(text: str, host: str, address: str) -> str:
    """Give the file of names with our line, and no other line of ours."""
    line = f"{address} {host} # {MARK}\n"
    lines = text.splitlines(keepends=True)
    if address and lines.count(line) == 1 and not any(MARK in each for each in lines if each != line):
        return text
    rest = "".join(each for each in lines if MARK not in each)
    if not address:
        return rest
    return f"{rest}{'' if not rest or rest.endswith(chr(10)) else chr(10)}{line}"


def write_names(path: Path, text: str) -> None:
    """Replace the file as a whole; in a container it is a mount, which can only be written into."""
    status = path.stat()
    try:
        write_atomically(str(path), text, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        path.write_text(text, encoding="utf-8")


def wanted_files(wanted: Parameters) -> dict[Path, str]:
    """Give each file of ours that has to change, with its new text; none means that it goes."""
    changes: dict[Path, str] = {}
    for path in sorted(wanted.directory.glob(f"*/{FILE}")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.startswith(HEADER) and (path != wanted.ca_file or not wanted.ca_certificates):
            changes[path] = ""
    if not wanted.ca_certificates:
        return changes
    path, text = wanted.ca_file, f"{HEADER}{wanted.ca_certificates}\n"
    present = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    if present and not present.startswith(HEADER):
        # Somebody else's file that says the same is as good.
        if not set(certificates(wanted.ca_certificates)) <= set(certificates(present)):
            raise RegistryError(
                f"{path} was not written by this module, and does not hold the CA of {wanted.registry}. "
                "Remove it, or add the CA to it."
            )
    elif present != text:
        changes[path] = text
    return changes


def write_file(path: Path, text: str) -> None:
    if text:
        for folder in reversed([path.parent, *path.parents]):
            if not folder.exists():
                folder.mkdir()
                folder.chmod(0o755)
        write_atomically(str(path), text, 0o644, os.geteuid(), os.getegid())
        return
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "ca_certificates": {"type": "str", "default": ""},
            "hosts_file": {"type": "path", "default": "/etc/hosts"},
            "certificates_directory": {"type": "path", "default": "/etc/docker/certs.d"},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params)
        names = wanted.hosts_file.read_text(encoding="utf-8") if wanted.hosts_file.exists() else ""
        new_names = with_address(names, wanted.host, wanted.address)
        files = wanted_files(wanted)
        before = {str(path): path.read_text(encoding="utf-8") if path.exists() else "" for path in files}
        after = {str(path): text for path, text in files.items()}
        if names != new_names:
            before[str(wanted.hosts_file)], after[str(wanted.hosts_file)] = names, new_names
        if not module.check_mode:
            if names != new_names:
                write_names(wanted.hosts_file, new_names)
            for path, text in files.items():
                write_file(path, text)
    except RegistryError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=before != after,
        diff=[
            {"before_header": path, "after_header": path, "before": before[path], "after": after[path]}
            for path in after
        ],
        registry_client={
            "registry": wanted.registry,
            "address": wanted.address,
            "ca_file": str(wanted.ca_file) if wanted.ca_certificates else "",
        },
    )


if __name__ == "__main__":
    main()
