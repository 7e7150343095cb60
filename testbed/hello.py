# SPDX-License-Identifier: MIT
"""The hello run: a task is deployed as a developer would do it, and one run of it is executed by a worker."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
import urllib.parse
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import images, upstream
from .cluster import REGISTRY_USER, WEBAPP, Answer, Cluster, Run, http
from .common import CACHE, TestbedError, docker, replace_file, say, step

MAIL = "admin@example.com"
TASK = "hello"
_LOGIN_SECONDS = 180


@dataclass(frozen=True)
class State:
    """What is kept between two hello runs of one deployment (a file for the owner's eyes only)."""

    token: str = field(repr=False)
    project: str
    image: str = ""
    tag: str = ""


@dataclass(frozen=True)
class Hello:
    """The developer's side of one deployment."""

    cluster: Cluster

    @property
    def folder(self) -> Path:
        """Where its state is kept."""
        return CACHE / "hello" / self.cluster.control

    def run(self, payload: dict[str, Any] | None = None) -> Run:
        """Deploy the task if need be, trigger one run of it, and wait for its end."""
        return self.trigger(self.key(), payload or {})

    def trigger(self, key: str, payload: dict[str, Any]) -> Run:
        """Trigger one run of the deployed task with an environment's key and wait for its end."""
        began = time.monotonic()
        url = f"/api/v1/tasks/{TASK}/trigger"
        triggered = _checked(
            self.cluster.ask("POST", url, payload={"payload": payload}, bearer=key), "triggering the run"
        )
        done = self.cluster.await_run(triggered["id"], key)
        # What the user waits for; the API's durationMs is the attempt's alone.
        return replace(done, seconds=time.monotonic() - began)

    def key(self) -> str:
        """Give the production key of the project, in which the task is deployed after this."""
        state, key = self._project()
        self._deploy(state, key)
        return key

    # -- login, organisation, project --------------------------------------------------------------------------------

    def _project(self) -> tuple[State, str]:
        state = self._load()
        key = state and self._environment_key(state)
        if not (state and key):
            with step("Making the first user, an organisation and a project"):
                state = self._sign_up()
                key = self._environment_key(state)
            if not key:
                raise TestbedError("the webapp refuses the token that it has just given")
        return state, key

    def _environment_key(self, state: State) -> str | None:
        # A volume made anew knows neither token nor project: both are asked before they are trusted.
        answer = self.cluster.ask("GET", f"/api/v1/projects/{state.project}/prod", bearer=state.token)
        return str(answer.json()["apiKey"]) if answer.status == 200 else None

    def _sign_up(self) -> State:
        ask = self.cluster.ask
        cookie = {"Cookie": self._session()}
        asked = _checked(ask("POST", "/api/v1/authorization-code", payload={}), "asking for a code")
        code = {"authorizationCode": asked["authorizationCode"]}
        url = f"/account/authorization-code/{code['authorizationCode']}"
        _checked(ask("GET", url, headers=cookie), "opening the page of the code", decode=False)
        found = _checked(ask("POST", "/api/v1/token", payload=code), "asking for a token")["token"]
        if not found:
            # From 4.5 the page only asks; the button on it posts to the same place.
            _checked(ask("POST", url, form={}, headers=cookie), "confirming the code", decode=False)
            found = _checked(ask("POST", "/api/v1/token", payload=code), "asking for a token")["token"]
        token = found["token"]
        made = ask("POST", "/orgs/new", form={"orgName": "Lab"}, headers=cookie)
        if made.status != 302:
            raise TestbedError(f"making an organisation: the webapp answered {made.status}")
        slug = _checked(ask("GET", "/api/v1/orgs", bearer=token), "listing organisations")[0]["slug"]
        url = f"/api/v1/orgs/{slug}/projects"
        project = _checked(ask("POST", url, payload={"name": "Hello"}, bearer=token), "making a project")
        state = State(token, project["externalRef"])
        self._save(state)
        return state

    def _session(self) -> str:
        ask = self.cluster.ask
        began = str(int(time.time()) - 1)
        asked = ask("POST", "/login/magic", form={"action": "send", "email": MAIL})
        if asked.status != 302:
            raise TestbedError(f"asking for a login link: the webapp answered {asked.status}")
        # Without a mail transport the link is in the log; its scheme may be wrong for plain http, the token counts.
        deadline = time.monotonic() + _LOGIN_SECONDS
        log = ["docker", "logs", "--since", began, WEBAPP]
        while not (links := re.findall(r"/magic\?token=(\S+)", self.cluster.host(*log))):
            if time.monotonic() > deadline:
                raise TestbedError(f"no login link for {MAIL} in the webapp's log")
            time.sleep(0.3)
        opened = ask("GET", f"/magic?token={links[-1]}")
        # The cookie is Secure, so a cookie jar would keep it back over http.
        session = re.match(r"__session=[^;]+", opened.headers.get("set-cookie", ""))
        if opened.status != 302 or not session:
            raise TestbedError(f"opening the login link: the webapp answered {opened.status} without a session")
        return session.group()

    # -- deployment --------------------------------------------------------------------------------------------------

    def image(self) -> tuple[str, str]:
        """Have the image of the task; gives its name and id."""
        return images.hello()

    def _deploy(self, state: State, key: str) -> None:
        if images.upstream():
            image = upstream.fingerprint()
            if state.image != image:
                with step("Deploying the hello task with the genuine CLI"):
                    upstream.deploy(self.cluster, state.token, state.project)
                self._save(replace(state, image=image))
            return
        name, image = self.image()
        if state.image == image and self.is_pushed(state.tag):
            say("The hello image is deployed")
            return
        with step("Deploying the hello image"):
            url = "/api/v1/deployments"
            content = {"contentHash": image.removeprefix("sha256:")}
            deployment = _checked(self.cluster.ask("POST", url, payload=content, bearer=key), "starting a deployment")
            self.push(name, deployment["imageTag"])
            url = f"/api/v3/deployments/{deployment['friendlyId']}/finalize"
            _checked(self.cluster.ask("POST", url, payload={}, bearer=key), "finishing the deployment", decode=False)
            self._save(replace(state, image=image, tag=deployment["imageTag"]))

    def is_pushed(self, tag: str) -> bool:
        """Tell whether the registry has an image of this name."""
        repository, _, version = tag.partition("/")[2].rpartition(":")
        basic = base64.b64encode(f"{REGISTRY_USER}:{self.cluster.registry_password()}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        url = f"http://{self.cluster.registry}/v2/{urllib.parse.quote(repository)}/manifests/{version}"
        return http("HEAD", url, headers=headers).status == 200

    def push(self, image: str, tag: str) -> None:
        """Bring a local image into the registry under this name."""
        # The registry has another name on this machine: the loopback, which an engine trusts without TLS.
        registry = self.cluster.registry
        name = f"{registry}/{tag.partition('/')[2]}"
        config = self.folder / "docker"
        config.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            login = ["login", "--username", REGISTRY_USER, "--password-stdin", registry]
            docker("--config", config, *login, stdin=self.cluster.registry_password())
            docker("tag", image, name)
            docker("--config", config, "push", "--quiet", name)
            docker("image", "rm", name)
        finally:
            shutil.rmtree(config)

    # -- state -------------------------------------------------------------------------------------------------------

    def _load(self) -> State | None:
        file = self.folder / "state.json"
        return State(**json.loads(file.read_text())) if file.exists() else None

    def _save(self, state: State) -> None:
        replace_file(self.folder / "state.json", json.dumps(asdict(state)), mode=0o600)


def _checked(answer: Answer, doing: str, *, decode: bool = True) -> Any:
    if not 200 <= answer.status < 300:
        raise TestbedError(f"{doing}: the webapp answered {answer.status} {answer.body[:200].decode(errors='replace')}")
    return answer.json() if decode else None
