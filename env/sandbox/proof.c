/* SPDX-License-Identifier: MIT */
#include "env/sandbox/proof.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

typedef enum need {
    NOTHING,
    NAMESPACES,
    GROUPS, /* and no limit on addresses, so that the group alone holds */
} need;

typedef struct attempt {
    const char *layer, *what, *code;
    need needs;
    box_outcome outcome; /* of an attempt that held; BOX_OK: it must also have printed "held" last */
} attempt;

#define TRY                                                                                                            \
    "import os, sys\n"                                                                                                 \
    "def refused(f, *a):\n"                                                                                            \
    "    try: f(*a)\n"                                                                                                 \
    "    except Exception: return\n"                                                                                   \
    "    print(f, a); sys.exit(1)\n"

static const attempt ATTEMPTS[] = {
    { "namespaces", "it is alone: no process, no host name, no network device",
      TRY "import socket\nif os.getppid() != 1: print(os.getppid()); sys.exit(1)\nrefused(socket.if_nameindex)\n"
          "import ctypes\nb = ctypes.create_string_buffer(512)\nctypes.CDLL(None).uname(b)\n"
          "print('held' if b.raw[65:68] == b'box' else b.raw[65:130])",
      NAMESPACES, BOX_OK },
    { "root", "nothing of the host's is seen",
      TRY "for p in ('/etc/passwd', '/root', '/home', '/proc', '/sys', '/var'):\n    refused(os.listdir, p)\n"
          "    refused(os.stat, p)\nprint('held')",
      NOTHING, BOX_OK },
    { "read-only", "no library and no device is written, or given another mode or time",
      TRY "for p in (os.__file__, '/dev/null'):\n    refused(os.chmod, p, 0o777)\n    refused(os.utime, p)\n"
          "    refused(os.unlink, p)\nrefused(open, os.__file__, 'a')\nrefused(os.mkdir, '/usr/troupe')\nprint('held')",
      NOTHING, BOX_OK },
    { "own folder", "no file outside of it is made",
      TRY "for p in ('/', '/usr', '/dev', '/usr/lib'):\n    refused(open, p + '/troupe', 'w')\nprint('held')", NOTHING,
      BOX_OK },
    { "nobody", "another id, another owner, the clock",
      TRY "import time\nrefused(os.setuid, 1)\nrefused(os.setgid, 1)\nrefused(os.chown, os.__file__, 1, 1)\n"
          "refused(time.clock_settime, time.CLOCK_REALTIME, 0)\nprint('held')",
      NOTHING, BOX_OK },
    { "system calls", "calls from 424 on (mounts, io_uring, pidfd, ...), sockets, kill, fork, exec",
      TRY "import ctypes, socket\nl = ctypes.CDLL(None)\nfor n in range(424, 600):\n"
          "    if n != 436 and l.syscall(n, 0, 0, 0, 0, 0, 0) >= 0: print(n); sys.exit(1)\n"
          "refused(socket.socket)\nrefused(os.kill, 1, 9)\nrefused(os.kill, os.getpid(), 9)\nrefused(os.fork)\n"
          "refused(os.execv, '/bin/sh', ['sh'])\nprint('held')",
      NOTHING, BOX_OK },
    { "memory", "four times what it may have, and beside it by memfd",
      TRY "x = []\ntry:\n    while len(x) < 1024: x.append(bytearray(1 << 20))\nexcept MemoryError:\n    x.clear()\n"
          "    refused(os.memfd_create, 'x')\n    print('held')",
      NOTHING, BOX_OK },
    { "memory group", "a gigabyte in small pieces, with no limit on addresses",
      "x = []\nwhile len(x) < 1 << 14: x.append(bytearray(1 << 16))\nprint('all of it')", GROUPS, BOX_MEMORY },
    { "memory group", "the same by mappings that are no objects of python's",
      "import mmap\nx = []\nfor i in range(64):\n    m = mmap.mmap(-1, 1 << 24)\n    m.write(bytes(1 << 24))\n"
      "    x.append(m)\nprint('all of it')",
      GROUPS, BOX_MEMORY },
    { "files", "more bytes, more files, more descriptors than it may have",
      TRY
      "n = 0\ntry:\n    while n < 256:\n        with open('f%d' % n, 'wb') as f: f.write(bytes(1 << 20))\n        n += "
      "1\nexcept OSError: pass\ni = 0\ntry:\n    while i < 20000: os.close(os.open('i%d' % i, 0o101)); i += 1\n"
      "except OSError: pass\nd = []\ntry:\n    while len(d) < 1000: d.append(os.dup(0))\nexcept OSError: pass\n"
      "print('held' if n <= 32 and i < 20000 and len(d) < 100 else (n, i, len(d)))",
      NOTHING, BOX_OK },
    { "processor", "an endless loop that ignores all signals",
      "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\n"
      "while True: pass",
      NOTHING, BOX_TIME },
    { "clock", "a sleep without end", "import time\ntime.sleep(10**6)", NOTHING, BOX_TIME },
    { "output", "output without end", "while True: print('x' * 1000)", NOTHING, BOX_OUTPUT },
};
_Static_assert(sizeof ATTEMPTS / sizeof *ATTEMPTS <= BOX_PROOFS, "room for all of them");

enum { LONGEST_WAIT_MS = 200 };
static box_result wait_for(box *b)
{
    box_result result = { 0 };
    while (box_poll(b, clock_ms(), &result, 1) == 0) {
        struct pollfd fds[8];
        const int n = box_fds(b, fds, 8);
        int64_t left_ms = box_deadline_ms(b) - clock_ms();
        if (left_ms < 0) left_ms = 0;
        if (left_ms > LONGEST_WAIT_MS) left_ms = LONGEST_WAIT_MS;
        poll(fds, (nfds_t)n, (int)left_ms);
    }
    return result;
}

static bool ends_with_held(const box_result *r)
{
    static const char HELD[] = "held\n";
    return r->output_len >= strlen(HELD) && strcmp(r->output + r->output_len - strlen(HELD), HELD) == 0;
}

static bool applies(const attempt *a, const box *b)
{
    if (a->needs == NAMESPACES) return strcmp(box_layers(b), "namespaces") == 0;
    return a->needs != GROUPS || box_grouped(b);
}

static box_proof prove(box *b, const attempt *a)
{
    error err = { 0 };
    box_proof p = { .layer = a->layer, .what = a->what };
    box_loosen(b, a->needs == GROUPS, a->outcome != BOX_TIME);
    const int rc = box_begin(b, 1, 1, a->code, strlen(a->code), clock_ms(), &err);
    if (rc != OK) {
        p.found = xstrdup(err.text);
        return p;
    }

    box_result r = wait_for(b);
    box_loosen(b, false, false);
    p.held = r.outcome == a->outcome && (r.outcome != BOX_OK || ends_with_held(&r));
    if (!p.held) {
        p.found = r.output;
        r.output = NULL;
    }
    free(r.output);
    return p;
}

int box_prove(box *b, box_proof out[BOX_PROOFS])
{
    int n = 0;
    for (size_t i = 0; i < sizeof ATTEMPTS / sizeof *ATTEMPTS; i++)
        if (applies(&ATTEMPTS[i], b)) out[n++] = prove(b, &ATTEMPTS[i]);
    return n;
}
