# SPDX-License-Identifier: MIT
"""Module object_store_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: object_store_info
version_added: 0.1.0
short_description: See whether a bucket of an S3 server can be read and written
description:
  - Puts one small object into the bucket, gets it, and removes it again, with the rights that the webapp has.
    The bucket is as it was afterwards. Where the key may not remove objects (the webapp does not need that right)
    the object stays, always the same one.
  - Fails when the server cannot be reached, when its certificate is not accepted, or when it refuses the key.
attributes:
  check_mode:
    support: partial
    description: The bucket is read only, so RV(object_store.writable) is V(null).
  diff_mode:
    support: N/A
    description: Changes nothing that stays.
  platform:
    description: Linux. Needs nothing but Python on the host.
options:
  url:
    description: Address of the server, C(scheme://host:port). Buckets are asked for by path, as the webapp does it.
    type: str
    required: true
  bucket:
    description: Name of the bucket.
    type: str
    default: packets
  region:
    description: Region that goes into signatures. Empty means V(us-east-1), as it does for the webapp.
    type: str
    default: ""
  access_key:
    description: Id of the key.
    type: str
    required: true
  secret_key:
    description: The key.
    type: str
    required: true
extends_documentation_fragment:
  - selfhosted.trigger_dev.attributes
  - selfhosted.trigger_dev.service
author:
  - The selfhosted.trigger_dev maintainers
"""

EXAMPLES = r"""
- name: Try the external bucket
  selfhosted.trigger_dev.object_store_info:
    url: https://s3.eu-central-1.amazonaws.com
    region: eu-central-1
    bucket: packets
    access_key: "{{ vault_access_key }}"
    secret_key: "{{ vault_secret_key }}"
  register: __bucket
"""

RETURN = r"""
object_store:
  description: What was found.
  returned: success
  type: dict
  contains:
    exists:
      description: Whether the bucket exists. V(null) when the key may not know.
      type: bool
      returned: success
    readable:
      description: Whether an object can be got. V(null) when there was none to get (check mode).
      type: bool
      returned: success
    writable:
      description: Whether an object can be put. V(null) in check mode.
      type: bool
      returned: success
    answer:
      description: Code of the first refusal, such as V(NoSuchBucket), empty when there was none.
      type: str
      returned: success
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _sigv4
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._connection import (
    ARGUMENT_SPEC,
    ServiceError,
    with_advice,
)
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._http import Answer, Origin, origin, request

PROBE = "selfhosted-trigger-dev-probe"
CONTENT = b"Written and removed by selfhosted.trigger_dev to try this bucket.\n"

# With these the key is worth nothing for any bucket; what the operator can do about each.
REFUSALS = {
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key is not the one that belongs to the access key",
    "RequestTimeTooSkewed": "the clock of this host differs too much from its own",
    "AuthorizationHeaderMalformed": "the region is not the bucket's",
    "PermanentRedirect": "the bucket is at another address",
    "InvalidBucketName": "it does not allow that name of a bucket",
}


@dataclass(frozen=True)
class Parameters:
    origin: Origin
    bucket: str
    region: str
    key: _sigv4.Key = field(repr=False)


@dataclass(frozen=True)
class Found:
    exists: bool | None
    readable: bool | None
    writable: bool | None
    answer: str


# Method and body -> the answer for the probe object.
Ask = Callable[[str, bytes], Answer]


def parameters(params: Mapping[str, Any]) -> Parameters:
    return Parameters(
        origin("S3", params["url"], params["ca_certificates"], 80, 443),
        params["bucket"],
        params["region"] or "us-east-1",
        _sigv4.Key(params["access_key"], params["secret_key"]),
    )


def send(wanted: Parameters, method: str, body: bytes, now: datetime) -> Answer:
    target = _sigv4.path(wanted.bucket, PROBE)
    headers = _sigv4.headers(wanted.key, wanted.region, method, wanted.origin.authority, target, body, now)
    answer = request("S3", wanted.origin, method, target, headers, body)
    code = refusal(answer)
    if code in REFUSALS:
        raise ServiceError(f"S3 at {wanted.origin.endpoint.address} refuses: {REFUSALS[code]} ({code})")
    return answer


def refusal(answer: Answer) -> str:
    """Give the code of a refusal, empty for success."""
    if answer.status < 300:
        return ""
    match = re.search(rb"<Code>(\w+)</Code>", answer.body)
    return match[1].decode() if match else f"status {answer.status}"


def look(ask: Ask, write: bool) -> Found:
    """Without writing, only the answer to a question for an object that (mostly) is not there tells something."""
    put = refusal(ask("PUT", CONTENT)) if write else ""
    if put:
        exists = False if put == "NoSuchBucket" else True if put == "AccessDenied" else None
        return Found(exists, None, False, put)
    got = ask("GET", b"")
    code = refusal(got)
    if not write:
        exists = {"": True, "NoSuchKey": True, "NoSuchBucket": False}.get(code)
        # Without the right to list, an object that is not there is forbidden instead of missing.
        return Found(exists, True if not code else None, None, "" if exists else code)
    ask("DELETE", b"")
    return Found(True, not code and got.body == CONTENT, True, code)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENT_SPEC,
            "url": {"type": "str", "required": True},
            "bucket": {"type": "str", "default": "packets"},
            "region": {"type": "str", "default": ""},
            "access_key": {"type": "str", "required": True, "no_log": True},
            "secret_key": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parameters(module.params)
        store = look(lambda method, body: send(wanted, method, body, datetime.now(timezone.utc)), not module.check_mode)
    except ServiceError as error:
        module.fail_json(msg=with_advice(error, module.params["advice"]))
    module.exit_json(changed=False, object_store=asdict(store))


if __name__ == "__main__":
    main()
