# SPDX-License-Identifier: MIT
"""Login by magic link, the session cookie, and the pages that the first administrator passes through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from aiohttp import web
from redis.exceptions import RedisError

from doubles.rules import line
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
# Links that one mail address, and one client, may ask for: how many within how many seconds.
LINK_RATES = ((3, 60), (30, 86400))
CLIENT_RATES = ((10, 60),)
LIMITER_SECONDS = 5
# A session that carries no user but what the next page shows: the words of the original.
SHOWN = "show "
UNAUTHORIZED = "This email is unauthorized"
TOO_MANY = "Too many magic link requests. Please try again shortly."
NO_MAIL = "Please enter a valid email address."


def link_origin(headers: Mapping[str, str]) -> str:
    """Host and scheme as the link is made: plain http only for this machine's own names."""
    host = headers.get("X-Forwarded-Host") or headers.get("Host", "")
    local = "localhost" in host or "127.0.0.1" in host
    scheme = "http" if local else headers.get("X-Forwarded-Proto") or "https"
    return f"{scheme}://{host}"


def client(forwarded: Iterable[str]) -> str:
    """Who asks: what the nearest proxy has added at the end; without a proxy nobody is counted."""
    return ",".join(forwarded).rpartition(",")[2].strip()


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
            web.get("/account/authorization-code/{code}", self.open_code),
            web.post("/account/authorization-code/{code}", self.confirm_code),
            web.post("/api/v1/token", self.exchange_code),
            web.get("/admin", self.admin_page),
            web.get("/orgs/new", self.guarded_page),
            web.post("/orgs/new", self.make_organization),
        ]

    def session_of(self, request: web.Request) -> str | None:
        cookie = request.cookies.get("__session", "")
        return open_session(self.state.settings.session_secret, cookie) if "." in cookie else None

    def with_session(self, answer: web.Response, content: str) -> web.Response:
        sealed = seal_session(self.state.settings.session_secret, content)
        answer.set_cookie("__session", sealed, max_age=YEAR, path="/", httponly=True, secure=True, samesite="Lax")
        return answer

    def refused(self, text: str) -> web.Response:
        """Back to the page of the form, which shows the text to whoever comes with the cookie."""
        return self.with_session(web.Response(status=302, headers={"Location": "/login/magic"}), SHOWN + text)

    async def user_of(self, request: web.Request) -> Row | None:
        user = self.session_of(request)
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
        session = self.session_of(request) or ""
        shown = session.removeprefix(SHOWN) if session.startswith(SHOWN) else ""
        return self.html(f"Login to Trigger.dev {button} {shown}")

    async def admin_page(self, request: web.Request) -> web.Response:
        user = await self.user_of(request)
        if user is None:
            raise web.HTTPFound("/login")
        if not user["admin"]:
            raise web.HTTPFound("/")
        return self.html("Admin")

    async def guarded_page(self, request: web.Request) -> web.Response:
        if await self.user_of(request) is None:
            raise web.HTTPFound("/login")
        return self.html("Create an Organization")

    async def _within_rate(self, mail: str, client_ip: str) -> bool:
        """What the limiter does not answer in time counts as yes."""
        if self.state.environment.get("LOGIN_RATE_LIMITS_ENABLED", "1").lower() not in ("1", "true"):
            return True
        try:
            within = await asyncio.wait_for(self._count(mail, client_ip), LIMITER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError, RedisError, OSError) as failure:
            log("error", "Rate limiter failed", error=str(failure))
            return True
        if not within:
            log("warn", "Login magic link rate limit exceeded", clientIp=client_ip or None, email=mail)
        return within

    async def _count(self, mail: str, client_ip: str) -> bool:
        now = utc_now().timestamp()
        limits = [(mail, *rate) for rate in LINK_RATES]
        limits += [(f"ip:{client_ip}", *rate) for rate in CLIENT_RATES if client_ip]
        for who, most, seconds in limits:
            key = f"auth:magiclink:{who}:{seconds}"
            await self.state.redis.zremrangebyscore(key, 0, now - seconds)
            if await self.state.redis.zcard(key) >= most:
                return False
            await self.state.redis.zadd(key, {random_text(16): now})
            await self.state.redis.expire(key, seconds)
        return True

    async def ask(self, request: web.Request) -> web.Response:
        form = await request.post()
        mail = str(form.get("email", "")).strip().lower()
        if form.get("action") != "send" or "@" not in mail:
            return self.refused(NO_MAIL)
        if not await self._within_rate(mail, client(request.headers.getall("X-Forwarded-For", []))):
            return self.refused(TOO_MANY)
        if not allowed(self.state.settings.whitelisted_emails, mail):
            return self.refused(UNAUTHORIZED)
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
        if mail is None:
            raise web.HTTPFound("/login/magic")
        if not allowed(config.whitelisted_emails, mail):
            return self.refused(UNAUTHORIZED)
        user = await self.user_by_mail(mail)
        return self.with_session(web.Response(status=302, headers={"Location": "/"}), user["id"])

    async def make_code(self, request: web.Request) -> web.Response:
        code = random_text(40, LOWER)
        await self.state.database.transaction(
            lambda cursor: insert(cursor, "AuthorizationCode", id=identifier(), code=code)
        )
        url = f"{self.state.settings.app_origin}/account/authorization-code/{code}"
        return reply({"authorizationCode": code, "url": url})

    async def open_code(self, request: web.Request) -> web.Response:
        """Before 4.5 opening the page grants the code; later it only asks whether it shall."""
        if line() == "4.2":
            return await self.grant_code(request)
        if await self.user_of(request) is None:
            raise web.HTTPFound("/login")
        return self.html("Authorize login")

    async def confirm_code(self, request: web.Request) -> web.Response:
        if line() == "4.2":
            raise web.HTTPMethodNotAllowed("POST", ["GET"])
        return await self.grant_code(request)

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
