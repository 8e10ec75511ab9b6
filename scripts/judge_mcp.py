# SPDX-License-Identifier: MIT
"""A server of the official SDK with tools of several kinds: what scripts/judge_mcp.sh calls.

    judge_mcp.py                                on stdin and stdout
    judge_mcp.py PORT [json] [stateless] [resumable]   on http://127.0.0.1:PORT/mcp
"""
import sys
import time

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("judge")


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
def fail() -> str:
    raise ValueError("no such thing")


if len(sys.argv) == 1:
    server.run()
else:
    server.run("streamable-http", port=int(sys.argv[1]), json_response="json" in sys.argv, stateless_http="stateless" in sys.argv)
