/* filter - the system calls a sandboxed child may not make, as a seccomp program. */
#pragma once

#include "base/error.h"

/* A descriptor (memfd, at its start) with the BPF program. -1 and `err` when libseccomp can't make one here. */
int filter_open(error *err);
