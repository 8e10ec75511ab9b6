# SPDX-License-Identifier: MIT
import ctypes, errno, os, struct, sys, time
l = ctypes.CDLL(None, use_errno=True)


def sc(*a):
    ctypes.set_errno(0)
    r = l.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
    return r, errno.errorcode.get(ctypes.get_errno(), "OK")


def escaped(what):
    os.write(1, ("\nESC" + "APED " + str(what)).encode())


# The system call of this number is to be refused, whatever it would have said.
def refused(*a):
    r, e = sc(*a)
    if r >= 0 or e not in ("EPERM", "ENOSYS"):
        escaped((a[0], r, e))


def raises(f, *a, **k):
    try:
        r = f(*a, **k)
    except Exception:
        return
    escaped((getattr(f, "__name__", f), a, r))


