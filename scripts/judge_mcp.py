# SPDX-License-Identifier: MIT
# A server of the official SDK with tools of several kinds: what scripts/judge_mcp.sh calls.
import time

from mcp.server.mcpserver import MCPServer

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
def fail() -> str:
    raise ValueError("no such thing")


server.run()
