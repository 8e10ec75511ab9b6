# SPDX-License-Identifier: MIT
"""A retrieval server as Search-R1's descendants have it; what a query asks for decides how it answers."""
import json
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support"))
import web  # noqa: E402

tries = {}
lock = threading.Lock()


class Handler(web.Handler):
    def retrieve(self):
        asked = json.loads(self.said)
        query, k = asked["queries"][0], asked["topk"]
        if asked.get("query") != query:  # as SkyRL's servers read it
            return self.answer(422, "query is missing")
        with lock:
            tries[query] = tries.get(query, 0) + 1
        if query == "hang":
            return self.server.ends.wait()
        if query == "garbage":
            return self.answer(200, "<html>", "text/html")
        if query == "broken":
            return self.answer(500, "Traceback")
        if query == "busy" and tries[query] < 3:
            return self.answer(503, "later")
        if query == "wrong":
            return self.answer(422, '{"detail": "topk is missing"}', "application/json")
        if query == "flood":
            return self.forever()
        if query == "cut":
            return self.cut()
        if query == "none":
            return self.answer(200, '{"result": [[]]}', "application/json")
        found = [{"document": {"id": str(i), "contents": '"Title %d"\n%s, key %s' % (i, query, self.headers.get("X-Key"))},
                  "score": 1.0 / (i + 1)} for i in range(k + 2)]
        if not asked["return_scores"]:
            found = [f["document"] for f in found]
        return self.answer(200, json.dumps({"result": [found]}), "application/json")


if __name__ == "__main__":
    web.serve(Handler, int(sys.argv[1]))
