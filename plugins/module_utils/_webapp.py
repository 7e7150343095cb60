# SPDX-License-Identifier: MIT
"""Talks to the webapp as a browser and as the CLI do: pages with a session, the API with a personal access token."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Run

# Go with the doc fragment `webapp`.
ARGUMENT_SPEC: dict[str, Any] = {"webapp_url": {"type": "str", "default": "http://127.0.0.1:8030"}}
LOGIN_ARGUMENT_SPEC: dict[str, Any] = {
    **ARGUMENT_SPEC,
    "webapp_container": {"type": "str", "required": True},
    "email": {"type": "str", "required": True},
}

# An answer takes 5 s while Redis is away (measured); a first one after a start may take longer.
TIMEOUT_SECONDS = 30
MOST_REDIRECTS = 4

# A text that is none is never sent: an error about a header would show it.
TOKEN = re.compile(r"tr_pat_[A-Za-z0-9]+")

# What pages say when a login fails -> what that means to an operator.
REFUSALS = {
    "This email is unauthorized": (
        "the address is not one of those that may log in (WHITELISTED_EMAILS). Set webapp_whitelisted_emails so that "
        "it matches, deploy, and try again"
    ),
    "Too many magic link requests": (
        "too many links were asked for (3 a minute and 30 a day for one address). Wait a minute and try again"
    ),
    "Failed sending magic link": (
        "the webapp could not send the link; its log says why. It asks Redis first, so see whether that is up"
    ),
    "enter a valid email address": "the webapp does not take this for a mail address",
}


class WebappError(Exception):
    """What the webapp refuses or fails at, in words for the user. Its text never holds a secret."""


class TokenRefused(WebappError):
    """The webapp does not know the personal access token."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


# Neither redirects, which are answers here, nor a proxy of the environment: the webapp is on this host.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def cookies(values: list[str]) -> dict[str, str]:
    """Read Set-Cookie headers. By hand, because a cookie jar keeps Secure cookies back over http."""
    pairs = (value.partition(";")[0].partition("=") for value in values)
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; a redirect has a location."""

    status: int
    text: str = field(repr=False)
    location: str = ""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """The path that a redirect leads to, without its query."""
        return urllib.parse.urlsplit(self.location).path


@dataclass(frozen=True)
class Webapp:
    """The webapp at the address by which its own host reaches it."""

    url: str

    def ask(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        payload: object = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Any status is an answer; no answer is an error."""
        sent = dict(headers or {})
        body: bytes | None = None
        if form is not None:
            body, sent["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif payload is not None:
            body, sent["Content-Type"] = json.dumps(payload).encode(), "application/json"
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        where = f"{method} {self.url}{path.partition('?')[0]}"
        try:
            request = urllib.request.Request(self.url.rstrip("/") + path, data=body, headers=sent, method=method)
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as reply:
                return _answer(reply)
        except urllib.error.HTTPError as error:
            return _answer(error)
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise WebappError(
                f"{where}: no answer ({reason}). The webapp has to be up on this host, and webapp_port has to be the "
                "port that it was deployed with"
            ) from None

    def follow(self, answer: Answer) -> Answer:
        """Go where a browser is led to, with its cookies, until there is a page."""
        jar = dict(answer.cookies)
        for _ in range(MOST_REDIRECTS):
            if not answer.location:
                break
            target = urllib.parse.urlsplit(answer.location)
            answer = self.ask("GET", urllib.parse.urlunsplit(("", "", target.path, target.query, "")), cookies=jar)
            jar.update(answer.cookies)
        return answer

    def json(self, method: str, path: str, *, token: str = "", payload: object = None) -> Any:
        """Ask the API and give what it answers."""
        if token and not TOKEN.fullmatch(token):
            raise TokenRefused("this is not a personal access token (tr_pat_ and letters or digits)")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.ask(method, path, payload=payload, headers=headers)
        try:
            content = json.loads(answer.text)
        except ValueError:
            content = None
        if 200 <= answer.status < 300 and content is not None:
            return content
        said = content.get("error") if isinstance(content, dict) else None
        what = f"{method} {path}: the webapp answers {answer.status}" + (f" ({said})" if said else "")
        if answer.status == 401 and token:
            raise TokenRefused(f"{what}: it does not know the personal access token")
        raise WebappError(what)


def _answer(reply: HTTPResponse | urllib.error.HTTPError) -> Answer:
    headers = reply.headers
    location = headers.get("Location", "") if 300 <= (reply.status or 0) < 400 else ""
    text = reply.read().decode(errors="replace")
    return Answer(reply.status or 0, text, location, cookies(headers.get_all("Set-Cookie") or []))


def address(email: str) -> str:
    """The address as the webapp stores it."""
    return email.strip().lower()


def require_token(token: str, check_mode: bool) -> str:
    """Only a dry run may come without a token: that of a user who would be made."""
    if not token and not check_mode:
        raise WebappError("token is empty; the module access_token gives one")
    return token


def oldest(rows: Iterable[Mapping[str, Any]], matches: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any] | None:
    """Give the row of the API that was made first among those that match: names are not unique there."""
    return min(filter(matches, rows), key=lambda row: str(row.get("createdAt")), default=None)


def refusal(page: Answer) -> str | None:
    """Say why a login was refused, if the page says so."""
    return next((meaning for words, meaning in REFUSALS.items() if words in page.text), None)


def log_in(webapp: Webapp, container: str, email: str, run: Run, now: float) -> Mapping[str, str]:
    """Give the cookies of a session; a user that does not exist yet is made by this.

    The link of a login mail is made here as the webapp makes it (JSON in OpenSSL's format, encrypted with
    MAGIC_LINK_SECRET), so that no mail is sent and no rate limit is used up. The secret stays where it is: in the
    environment of the webapp's container, whose own openssl reads it there.
    """
    content = {"e": email, "f": {"action": "send"}, "c": int(now * 1000)}
    seal = ["openssl", "enc", "-aes-256-cbc", "-md", "md5", "-salt", "-a", "-A", "-pass", "env:MAGIC_LINK_SECRET"]
    made = run(["docker", "exec", "-i", container, *seal], stdin=json.dumps(content, separators=(",", ":")), timeout=30)
    if made.code != 0:
        raise WebappError(f"cannot make a login link in the container {container}: {made.error}")
    answer = webapp.ask("GET", f"/magic?token={urllib.parse.quote(made.stdout.strip(), safe='')}")
    if answer.path.startswith("/login/mfa"):
        raise WebappError(
            f"{email} logs in with a second factor, which only a browser can give. Make a personal access token there "
            "(Account, Personal access tokens) and put it into the file"
        )
    if answer.status != 302 or answer.path.startswith("/login") or "__session" not in answer.cookies:
        reason = refusal(webapp.follow(answer)) or f"it answers {answer.status} {answer.path}"
        raise WebappError(f"the webapp does not let {email} log in: {reason}")
    return answer.cookies
