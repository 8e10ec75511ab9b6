/* SPDX-License-Identifier: MIT */
/* group_place - where the cgroup v2 group of a process is found in the file system.
 *
 *     /proc/self/mountinfo  ... 0:26 / /sys/fs/cgroup rw ... - cgroup2 cgroup2 rw,nsdelegate    what is mounted, where
 *     /proc/self/cgroup     0::/user.slice/run-7.scope                                          the process's group
 *     the folder            /sys/fs/cgroup/user.slice/run-7.scope
 *
 * A mount may show only a part of the hierarchy (of a container's own, say): the part's name goes from the group's
 * path. On a machine with both versions the second is often mounted without a controller: that is for its files to say.
 *
 * Pure: texts in, a path out. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* ERR_UNSUPPORTED says why there is none: no version 2 mounted, or the group lies outside of what is. */
int group_place_find(const char *mountinfo, const char *cgroup, char *out, size_t size, error *err);
