# SPDX-License-Identifier: MIT
"""A server of the tests' own: says its port on stdout, answers a path as its name says, ends with its stdin.

    python3 web.py [PORT]
"""
import http.server
import json
import socket
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="text/plain", **headers):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_chunks(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def echo(self):
        self.answer(200, json.dumps({"method": self.command, "path": self.path, "body": self.said.decode(),
                                     "key": self.headers.get("X-Key")}), "application/json", X_Kind="echo")

    def drip(self):
        self.begin_chunks("text/event-stream")
        for i in range(3):
            self.chunk(b"data: %d\n\n" % i)
            time.sleep(0.02)
        self.chunk(b"")

    def forever(self):
        self.begin_chunks("text/plain")
        while True:
            self.chunk(b"x" * 65536)

    def hang(self):
        self.server.ends.wait()

    def garbage(self):
        self.wfile.write(b"\x00\xffthis is no HTTP\r\n\r\n")
        self.close_connection = True

    def cut(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half of it")
        self.close_connection = True

    def gone(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def broken(self):
        self.answer(500, "Traceback: it has failed")

    def moved(self):
        self.answer(307, "moved", Location="/echo?moved")

    def loop(self):
        self.answer(302, "again", Location="/loop")

    def away(self):
        self.answer(302, "away", Location="http://localhost:%d/echo" % self.server.server_port)

    def to_file(self):
        self.answer(302, "away", Location="file:///etc/passwd")

    def do(self):
        self.said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.strip("/").split("?")[0].split("/")[0]
        try:
            getattr(self, name, self.echo)()
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # who asked has gone
            super().handle_error(request, client_address)


def serve(handler, port=0):
    server = Server(("127.0.0.1", port), handler)
    server.ends = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    server.ends.set()


if __name__ == "__main__":
    serve(Handler, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
