# SPDX-License-Identifier: MIT
"""Login by magic link, the session cookie, and the pages that the first administrator passes through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web
from redis.exceptions import RedisError

from doubles.webapp.database import Cursor, Row, insert
from doubles.webapp.ids import (
    LOWER,
    decrypt,
    encrypt,
    identifier,
    open_link,
    open_session,
    random_text,
    seal_link,
    seal_session,
    sha256,
    utc_now,
)
from doubles.webapp.log import log, plain
from doubles.webapp.state import State, reply

YEAR = 31536000
CODE_LIFE = "10 minutes"


def link_origin(headers: Mapping[str, str]) -> str:
    """Host and scheme as the link is made: plain http only for this machine's own names."""
    host = headers.get("X-Forwarded-Host") or headers.get("Host", "")
    local = "localhost" in host or "127.0.0.1" in host
    scheme = "http" if local else headers.get("X-Forwarded-Proto") or "https"
    return f"{scheme}://{host}"


def matches(pattern: str, mail: str) -> bool:
    """Unanchored, as the original tests it; an empty pattern is no pattern."""
    return bool(pattern) and re.search(pattern, mail) is not None


def allowed(pattern: str, mail: str) -> bool:
    return not pattern or matches(pattern, mail)


def mail_text(mail: str, link: str) -> str:
    return (
        f"\n##### sendEmail to {mail}, subject: Magic sign-in link for Trigger.dev\n\n"
        f"Log in to Trigger.dev\n\n{link}\n\n"
        "If you didn't try to log in, you can safely ignore this email.\n"
    )


def slugify(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


class Login:
    def __init__(self, state: State) -> None:
        self.state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.home),
            web.get("/login", self.page),
            web.get("/login/magic", self.page),
            web.post("/login/magic", self.ask),
            web.get("/magic", self.follow),
            web.post("/api/v1/authorization-code", self.make_code),
            web.get("/account/authorization-code/{code}", self.grant_code),
            web.post("/api/v1/token", self.exchange_code),
            web.get("/orgs/new", self.guarded_page),
            web.post("/orgs/new", self.make_organization),
        ]

    async def user_of(self, request: web.Request) -> Row | None:
        cookie = request.cookies.get("__session", "")
        user = open_session(self.state.settings.session_secret, cookie) if "." in cookie else None
        return await self.state.database.one('SELECT * FROM "User" WHERE id = %s', (user,)) if user else None

    async def user_by_mail(self, mail: str) -> Row:
        """`admin` is decided once, when the row is made."""
        admin = matches(self.state.settings.admin_emails, mail)

        def job(cursor: Cursor) -> Row:
            cursor.execute('SELECT * FROM "User" WHERE email = %s', (mail,))
            row = cursor.fetchone()
            if row:
                return dict(row)
            return insert(cursor, "User", id=identifier(), email=mail, admin=admin, authenticationMethod="MAGIC_LINK")

        user: Row = await self.state.database.transaction(job)
        return user

    async def home(self, request: web.Request) -> web.Response:
        if await self.user_of(request) is None:
            raise web.HTTPFound("/login")
        return self.html("Trigger.dev")

    async def page(self, request: web.Request) -> web.Response:
        button = '<a href="/auth/github">Continue with GitHub</a>' if "dead_github_button" in self.state.quirks else ""
        return self.html(f"Login to Trigger.dev {button}")

    async def guarded_page(self, request: web.Request) -> web.Response:
        if await self.user_of(request) is None:
            raise web.HTTPFound("/login")
        return self.html("Create an Organization")

    async def _within_rate(self, mail: str) -> None:
        """The limiter is asked for five seconds at most; the answer to the browser is the same."""
        key = f"auth:magiclink:{mail}"
        try:
            await asyncio.wait_for(self.state.redis.incr(key), 5)
            await self.state.redis.expire(key, 60)
        except (TimeoutError, RedisError, OSError) as failure:
            log("error", "Rate limiter failed", error=str(failure))

    async def ask(self, request: web.Request) -> web.Response:
        form = await request.post()
        mail = str(form.get("email", "")).strip().lower()
        if form.get("action") != "send" or "@" not in mail:
            raise web.HTTPFound("/login/magic")
        if not allowed(self.state.settings.whitelisted_emails, mail):
            raise web.HTTPFound("/login/magic")
        await self._within_rate(mail)
        await self.user_by_mail(mail)
        token = quote(seal_link(self.state.settings.magic_link_secret, mail, utc_now()), safe="")
        if self.state.environment.get("EMAIL_TRANSPORT"):
            log("error", "Failed to send email", to=mail)
        else:
            plain(mail_text(mail, f"{link_origin(request.headers)}/magic?token={token}"))
        raise web.HTTPFound("/login/magic")

    async def follow(self, request: web.Request) -> web.Response:
        config = self.state.settings
        mail = open_link(config.magic_link_secret, request.query.get("token", ""), utc_now())
        if mail is None or not allowed(config.whitelisted_emails, mail):
            raise web.HTTPFound("/login/magic")
        user = await self.user_by_mail(mail)
        answer = web.Response(status=302, headers={"Location": "/"})
        answer.set_cookie(
            "__session",
            seal_session(config.session_secret, user["id"]),
            max_age=YEAR,
            path="/",
            httponly=True,
            secure=True,
            samesite="Lax",
        )
        return answer

    async def make_code(self, request: web.Request) -> web.Response:
        code = random_text(40, LOWER)
        await self.state.database.transaction(
            lambda cursor: insert(cursor, "AuthorizationCode", id=identifier(), code=code)
        )
        url = f"{self.state.settings.app_origin}/account/authorization-code/{code}"
        return reply({"authorizationCode": code, "url": url})

    async def grant_code(self, request: web.Request) -> web.Response:
        """The one token named "cli" of a user is made here, or found again."""
        user = await self.user_of(request)
        if user is None:
            raise web.HTTPFound("/login")
        code, key = request.match_info["code"], self.state.settings.encryption_key

        def job(cursor: Cursor) -> bool:
            cursor.execute(
                'SELECT id FROM "AuthorizationCode" WHERE code = %s AND "createdAt" > '
                "clock_timestamp() AT TIME ZONE 'UTC' - %s::interval",
                (code, CODE_LIFE),
            )
            if cursor.fetchone() is None:
                return False
            cursor.execute(
                'SELECT * FROM "PersonalAccessToken" WHERE "userId" = %s AND name = \'cli\' AND "revokedAt" IS NULL',
                (user["id"],),
            )
            token = cursor.fetchone()
            if token is None:
                text = "tr_pat_" + random_text(40, LOWER)
                token = insert(
                    cursor,
                    "PersonalAccessToken",
                    id=identifier(),
                    name="cli",
                    encryptedToken=encrypt(key, text),
                    hashedToken=sha256(text),
                    obfuscatedToken=f"{text[:11]}{'•' * 18}{text[-4:]}",
                    userId=user["id"],
                )
            cursor.execute(
                'UPDATE "AuthorizationCode" SET "personalAccessTokenId" = %s WHERE code = %s', (token["id"], code)
            )
            return True

        if not await self.state.database.transaction(job):
            return self.html("Authentication failed: authorization code not found or expired")
        return self.html("Successfully authenticated")

    async def exchange_code(self, request: web.Request) -> web.Response:
        body = await request.json()
        row = await self.state.database.one(
            'SELECT t.* FROM "AuthorizationCode" c LEFT JOIN "PersonalAccessToken" t '
            'ON t.id = c."personalAccessTokenId" WHERE c.code = %s AND c."createdAt" > '
            "clock_timestamp() AT TIME ZONE 'UTC' - %s::interval",
            (str(body.get("authorizationCode", "")), CODE_LIFE),
        )
        if row is None:
            return reply({"error": "Invalid authorization code, or code expired"}, status=400)
        if row["id"] is None:
            return reply({"token": None})
        token = decrypt(self.state.settings.encryption_key, row["encryptedToken"])
        return reply({"token": {"token": token, "obfuscatedToken": row["obfuscatedToken"]}})

    async def make_organization(self, request: web.Request) -> web.Response:
        user = await self.user_of(request)
        if user is None:
            raise web.HTTPFound("/login")
        title = str((await request.post()).get("orgName", "")).strip()
        if not 3 <= len(title) <= 50:
            return self.html("Organization name must be between 3 and 50 characters", 400)
        slug = f"{slugify(title)}-{random_text(4, '0123456789abcdef')}"

        def job(cursor: Cursor) -> None:
            organization = insert(cursor, "Organization", id=identifier(), slug=slug, title=title)
            insert(cursor, "OrgMember", id=identifier(), organizationId=organization["id"], userId=user["id"])

        await self.state.database.transaction(job)
        raise web.HTTPFound(f"/orgs/{slug}")

    @staticmethod
    def html(text: str, status: int = 200) -> web.Response:
        return web.Response(text=f"<!doctype html><p>{text}</p>", content_type="text/html", status=status)
