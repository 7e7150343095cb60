# SPDX-License-Identifier: MIT
"""The smallest socket.io 4 over engine.io 4, transport websocket only: handshake, one namespace, pings."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping

from aiohttp import ClientSession, WSMsgType, web

PING_INTERVAL, PING_TIMEOUT = 25.0, 20.0


def open_packet(identity: str) -> str:
    body = {
        "sid": identity,
        "upgrades": [],
        "pingInterval": int(PING_INTERVAL * 1000),
        "pingTimeout": int(PING_TIMEOUT * 1000),
        "maxPayload": 1000000,
    }
    return "0" + json.dumps(body, separators=(",", ":"))


def connect_reply(packet: str, namespace: str, allowed: bool) -> str | None:
    """The answer to a namespace's CONNECT packet; None for any other packet."""
    if packet != f"40{namespace}" and not packet.startswith(f"40{namespace},"):
        return None
    if not allowed:
        return f'44{namespace},{{"message":"unauthorized"}}'
    return f'40{namespace},{{"sid":"{secrets.token_urlsafe(15)}"}}'


async def serve(request: web.Request, namespace: str, allowed: bool) -> web.StreamResponse:
    """Answer the handshake and keep the connection until a ping stays without its pong."""
    if request.query.get("transport") != "websocket" or request.query.get("EIO") != "4":
        return web.json_response({"code": 0, "message": "Transport unknown"}, status=400)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(open_packet(secrets.token_urlsafe(15)))
    waiting = False
    while True:
        try:
            message = await socket.receive(PING_TIMEOUT if waiting else PING_INTERVAL)
        except TimeoutError:
            if waiting:
                break
            await socket.send_str("2")
            waiting = True
            continue
        if message.type is not WSMsgType.TEXT:
            break
        if message.data == "3":
            waiting = False
        reply = connect_reply(message.data, namespace, allowed)
        if reply:
            await socket.send_str(reply)
            if not allowed:
                break
    await socket.close()
    return socket


class Refused(Exception):
    pass


async def connect(
    session: ClientSession, url: str, namespace: str, headers: Mapping[str, str], connected: asyncio.Event
) -> None:
    """One life of a client connection: returns when the other side ends it."""
    async with session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", headers=headers) as socket:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            text = str(message.data)
            if text.startswith("0"):
                await socket.send_str(f"40{namespace},")
            elif text == "2":
                await socket.send_str("3")
            elif text.startswith(f"40{namespace},"):
                connected.set()
            elif text.startswith(f"44{namespace},"):
                raise Refused(text)
