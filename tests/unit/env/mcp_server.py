# SPDX-License-Identifier: MIT
"""An MCP server over HTTP that is strict about what it is told and, by the name of a tool, wrong in what it answers.

Its address says what it is like: /json, /stream, /stateless, /old (of another revision), /future, /silent, /late (503 until
the third initialize), /forbidden, /html, /bad (no MCP at all).
"""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support"))
import web  # noqa: E402

lock = threading.Lock()
sessions = {}  # id -> whether notifications/initialized has come
seen = {"initialize": 0, "cancelled": [], "deleted": 0, "pongs": 0, "early": 0}
TOOLS = ["echo", "fail", "slow", "garbage", "html", "giant", "gone", "broken", "events", "cut", "resumed", "forget", "lost",
         "seen", "other", "nap"]
PAGE = 5


class Handler(web.Handler):
    def kind(self):
        return self.path.strip("/").split("/")[0]

    def put(self, message, status=200, **headers):
        message["jsonrpc"] = "2.0"
        if self.kind() == "stream" and status == 200:
            self.begin(**headers)
            self.chunk(b": hello\r\n\r\n")
            self.chunk(b"event: message\r\ndata: %s\r\n\r\n" % json.dumps(message).encode())
            self.chunk(b"")
        else:
            self.answer(status, json.dumps(message), "application/json; charset=utf-8", **headers)

    def begin(self, **headers):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def result(self, id, text, **more):
        return {"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}], **more}}

    def refuse(self, status, why):
        self.put({"id": None, "error": {"code": -32600, "message": why}}, status)

    def do_DELETE(self):
        with lock:
            seen["deleted"] += sessions.pop(self.headers.get("Mcp-Session-Id"), None) is not None
        self.answer(200)

    def do_GET(self):
        if self.headers.get("Last-Event-ID") != "e1":
            return self.answer(405)
        self.begin()
        with lock:
            id = seen["resumed"]
        self.chunk(b"data: %s\n\n" % json.dumps(self.result(id, "resumed")).encode())
        self.chunk(b"")

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, id, params = message.get("method"), message.get("id"), message.get("params", {})
        kind, session = self.kind(), self.headers.get("Mcp-Session-Id")
        if self.headers.get("Accept") != "application/json, text/event-stream":
            return self.refuse(406, "Not Acceptable")
        if kind == "forbidden" and self.headers.get("Authorization") != "Bearer hunter2":
            return self.refuse(401, "who are you?")
        if kind == "bad":
            return self.answer(404, "no such page")
        if kind == "html":
            return self.answer(200, "<html>", "text/html")
        if kind == "silent":
            return self.server.ends.wait()
        if method == "initialize":
            return self.initialize(id, params, kind)
        with lock:
            known = kind == "stateless" or session in sessions
        if not known:
            return self.refuse(404, "Session not found")
        if self.headers.get("MCP-Protocol-Version") not in ("2025-11-25", "2025-03-26"):
            return self.refuse(400, "Unsupported protocol version")
        if id is None or method is None:
            return self.notice(message, params, session)
        with lock:
            ready = kind == "stateless" or sessions[session]
            seen["early"] += not ready
        if not ready:
            return self.refuse(400, "not initialized")
        if method == "tools/list":
            return self.list_tools(id, params)
        return self.call(id, params["name"], params["arguments"].get("x", "-"), session)

    def initialize(self, id, params, kind):
        with lock:
            seen["initialize"] += 1
            n = seen["initialize"]
            session = "s-%d" % n
            if kind != "stateless":
                sessions[session] = False
        if kind == "late" and n < 3:
            return self.answer(503, "starting")
        asked = {"old": "2025-03-26", "future": "2099-01-01"}.get(kind, params["protocolVersion"])
        headers = {} if kind == "stateless" else {"Mcp_Session_Id": session}
        return self.put({"id": id, "result": {"protocolVersion": asked, "capabilities": {"tools": {}},
                                              "serverInfo": {"name": "t", "version": "1"}}}, **headers)

    def notice(self, message, params, session):
        time.sleep(0.05)  # one that is said meanwhile would come first
        with lock:
            if message.get("method") == "notifications/initialized" and session in sessions:
                sessions[session] = True
            if message.get("method") == "notifications/cancelled":
                seen["cancelled"].append(params["reason"])
            seen["pongs"] += "result" in message
        self.answer(202)

    def list_tools(self, id, params):
        at = int(params.get("cursor", 0))
        tools = [{"name": n, "description": "does as it is told", "inputSchema": {"type": "object", "properties": {
            "x": {"type": "string"}}}} for n in TOOLS[at:at + PAGE]]
        more = {"nextCursor": str(at + PAGE)} if at + PAGE < len(TOOLS) else {}
        self.put({"id": id, "result": {"tools": tools, **more}})

    def call(self, id, name, x, session):
        if name == "slow":
            return self.server.ends.wait()
        if name == "nap":
            time.sleep(0.2)
        if name == "garbage":
            return self.answer(200, '{"jsonrpc": "2.0", "id": %d, "res' % id, "application/json")
        if name == "html":
            return self.answer(200, "<html>an error page</html>", "text/html")
        if name == "giant":
            return self.forever()
        if name == "gone":
            return self.gone()
        if name == "broken":
            return self.answer(500, "Traceback: it has failed")
        if name == "other":
            return self.answer(200, json.dumps(self.result(id + 1000, "not yours")), "application/json")
        if name == "forget":
            with lock:
                sessions.clear()
        if name == "lost":  # the first time
            with lock:
                first = "lost" not in seen
                seen["lost"] = True
                if first:
                    sessions.clear()
            if first:
                return self.refuse(404, "Session not found")
        if name == "cut":
            self.begin()
            self.chunk(b"data: {\"jsonrpc\": \"2.0\", \"method\": \"notifications/progress\"}\n\n")
            return self.chunk(b"")
        if name == "resumed":
            with lock:
                seen["resumed"] = id
            self.begin()
            self.chunk(b"id: e1\nretry: 20\ndata:\n\n")
            return self.chunk(b"")
        if name == "events":
            self.begin()
            for m in ({"method": "notifications/tools/list_changed"}, {"id": "p1", "method": "ping"},
                      {"id": 7, "method": "sampling/createMessage"}, {"method": "notifications/message", "params": {}}):
                self.chunk(b"data: %s\n\n" % json.dumps({"jsonrpc": "2.0", **m}).encode())
            lines = json.dumps(self.result(id, "events " + x), indent=1).encode().split(b"\n")
            whole = b"event: other\ndata: {}\n\n" + b"".join(b"data: %s\r\n" % line for line in lines) + b"\r\n"
            for i in range(0, len(whole), 7):
                self.chunk(whole[i:i + 7])
            return self.chunk(b"")
        if name == "seen":
            with lock:
                return self.put(self.result(id, json.dumps(seen)))
        return self.put(self.result(id, "%s %s" % (name, x), isError=name == "fail"))


if __name__ == "__main__":
    web.serve(Handler, int(sys.argv[1]))
