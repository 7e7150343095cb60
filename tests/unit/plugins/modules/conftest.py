# SPDX-License-Identifier: MIT
"""Runs a module's main() as Ansible does, and what more than one module is tested against."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.testing import patch_module_args
from doubles.webapp.ids import open_link

CONTAINER = "trigger-webapp-webapp-1"
SECRET = "p@ss word $x'\"#"


class Invoke(Protocol):
    def __call__(self, main: Callable[[], None], *, check: bool = False, **arguments: object) -> dict[str, Any]: ...


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(main: Callable[[], None], *, check: bool = False, **arguments: object) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


@dataclass
class Webapp:
    """The routes of the webapp that lead from a login to a project, in memory.

    Users, organisations and projects are kept as the original keeps them: a login makes the user, the one token named
    "cli" of a user is made once, and every call makes another project.
    """

    # Mail -> whether its user is an administrator.
    users: dict[str, bool] = field(default_factory=dict)
    admins: str = "me@example.com"
    refused: str = "stranger@example.com"
    tokens: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str | None] = field(default_factory=dict)
    organizations: list[dict[str, Any]] = field(default_factory=list)
    projects: list[dict[str, Any]] = field(default_factory=list)
    # Later releases make the token when a button is pressed, not when the page is opened.
    asks_for_consent: bool = False
    second_factor: bool = False
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def token(self, mail: str) -> str:
        return self.tokens.setdefault(mail, f"tr_pat_{len(self.tokens):040d}")

    def answer(self, method: str, path: str, query: dict[str, list[str]], mail: str, user: str, body: str) -> Any:
        """Give the status, and a location, a cookie or a body: mail is that of the token, user that of the session."""
        call = f"{method} {path.rstrip('/')}"
        code = re.fullmatch(r"/account/authorization-code/([^/]+)", path)
        projects = re.fullmatch(r"POST /api/v1/orgs/([^/]+)/projects", call)
        found: Any = (404, {"error": f"{method} {path}"})
        if call == "GET /magic":
            found = self.open_link(open_link(SECRET, query["token"][0], datetime.now(timezone.utc)))
        elif call == "GET /login/magic":
            found = 200, "<p>This email is unauthorized</p>" if user == "refused" else "<p>Login</p>"
        elif call == "GET /admin":
            found = (200, "<p>Admin</p>") if self.users.get(user) else (302, "/")
        elif call == "POST /api/v1/authorization-code":
            self.codes[f"code{len(self.codes)}"] = None
            found = 200, {"authorizationCode": f"code{len(self.codes) - 1}", "url": ""}
        elif code and user in self.users:
            found = self.open_code(method, code[1], user)
        elif call == "POST /api/v1/token":
            token = self.codes[json.loads(body)["authorizationCode"]]
            found = 200, {"token": token and {"token": token, "obfuscatedToken": "tr_pat_0…"}}
        elif call == "POST /orgs/new" and user in self.users:
            found = self.make_organization(parse_qs(body)["orgName"][0], user)
        elif path.startswith("/api/") and not mail:
            found = 401, {"error": "Invalid or Missing Access Token"}
        elif call == "GET /api/v2/whoami":
            found = 200, {"userId": "u", "email": mail, "dashboardUrl": self.url}
        elif call == "GET /api/v1/orgs":
            found = 200, [row for row in self.organizations if row["member"] == mail]
        elif call == "GET /api/v1/projects":
            found = 200, self.projects
        elif projects:
            found = self.make_project(projects[1], json.loads(body)["name"])
        return found

    def open_code(self, method: str, code: str, user: str) -> Any:
        """Answer the page of an authorization code, which makes its token."""
        if method == "POST" and not self.asks_for_consent:
            return 405, ""
        if (method == "POST") == self.asks_for_consent:
            self.codes[code] = self.token(user)
        return 200, "<p>page</p>"

    def open_link(self, mail: str | None) -> Any:
        if mail is None or mail == self.refused:
            return 302, "/login/magic", "refused" if mail else "nobody"
        self.users.setdefault(mail, mail == self.admins)
        return 302, "/login/mfa" if self.second_factor else "/", mail

    def make_organization(self, title: str, member: str) -> Any:
        number = len(self.organizations)
        created = f"2026-01-0{9 - number}T00:00:00.000Z"
        row = {"id": f"org{number}", "slug": f"slug-{number}", "title": title, "createdAt": created, "member": member}
        self.organizations.append(row)
        return 302, f"/orgs/slug-{number}"

    def make_project(self, organization: str, name: str) -> Any:
        number = len(self.projects)
        if number == 10:
            return 400, {"error": "Failed to create project"}
        row = {
            "id": f"p{number}",
            "externalRef": f"proj_{number}",
            "name": name,
            "slug": f"s{number}",
            "createdAt": f"2026-01-0{9 - number}",
            "organization": {"id": organization},
        }
        self.projects.append(row)
        return 200, row

    def handler(self) -> type[BaseHTTPRequestHandler]:
        webapp = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                webapp.requests.append(f"{self.command} {url.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                mail = next((mail for mail, known in webapp.tokens.items() if known == token), "")
                user = (self.headers.get("Cookie") or "").partition("__session=")[2].partition(";")[0]
                status, content, *session = webapp.answer(self.command, url.path, parse_qs(url.query), mail, user, body)
                sent = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                for value in session:
                    self.send_header("Set-Cookie", f"__session={value}; Path=/; HttpOnly; Secure; SameSite=Lax")
                if status == 302:
                    self.send_header("Location", sent)
                self.end_headers()
                self.wfile.write(b"" if status == 302 else sent.encode())

            do_POST = do_GET

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webapp]:
    """Serve, with a `docker` on the path whose container holds the secret in its environment."""
    monkeypatch.setenv("SECRET_OF_THE_CONTAINER", SECRET)
    (folder / "docker").write_text(
        f'#!/bin/sh\ntest "$1 $2 $3" = "exec -i {CONTAINER}" || {{ echo "no such container" >&2; exit 1; }}\n'
        'shift 3\nMAGIC_LINK_SECRET="$SECRET_OF_THE_CONTAINER" exec "$@"\n'
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    webapp = Webapp()
    server = ThreadingHTTPServer(("127.0.0.1", 0), webapp.handler())
    webapp.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield webapp
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def webapp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webapp]:
    """A webapp in memory, and a `docker` with its container."""
    with serving(tmp_path, monkeypatch) as found:
        yield found
