# SPDX-License-Identifier: MIT
"""A server of the official SDK with tools of several kinds: what scripts/judge_mcp.sh calls.

    judge_mcp.py                                       on stdin and stdout
    judge_mcp.py PORT [json] [stateless] [resumable]   on http://127.0.0.1:PORT/mcp
"""
import sys
import time

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore

server = MCPServer("judge")


class Events(EventStore):
    "Remembers all that it has said, so that a client that comes back hears the rest."

    def __init__(self):
        self.all = []

    async def store_event(self, stream_id, message):
        self.all.append((stream_id, message))
        return str(len(self.all))

    async def replay_events_after(self, last_event_id, send_callback):
        at = int(last_event_id)
        stream = self.all[at - 1][0]
        for i, (of, message) in enumerate(self.all[at:], at + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(i)))
        return stream


@server.tool()
def add(a: int, b: int) -> int:
    "Adds two whole numbers."
    return a + b


@server.tool()
def weather(city: str, days: list[int] | None = None) -> dict[str, str]:
    "The weather of a city."
    return {"city": city, "sky": "blue"}


@server.tool()
def lines(n: int) -> list[str]:
    "So many lines."
    return ["line %d" % i for i in range(n)]


@server.tool()
def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


@server.tool()
async def told(n: int, ctx: Context) -> str:
    "Says how far it is before it answers."
    for i in range(n):
        await ctx.report_progress(i, n)
    return "told %d" % n


@server.tool()
async def leaves(ctx: Context) -> str:
    "Closes its stream before it answers."
    await ctx.close_sse_stream()
    await anyio.sleep(0.3)
    return "came back"


@server.tool()
def fail() -> str:
    raise ValueError("no such thing")


if len(sys.argv) == 1:
    server.run()
else:
    words = sys.argv[2:]
    server.run("streamable-http", port=int(sys.argv[1]), json_response="json" in words, stateless_http="stateless" in words,
               event_store=Events() if "resumable" in words else None, retry_interval=100)
