/* SPDX-License-Identifier: MIT */
#include "run/quiet_device.h"

#include <pthread.h>
#include <signal.h>

device *quiet_device(const recipe *r, error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    device *dev = device_open(r->run.device, (int)r->run.learner_threads, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (dev) device_set_precision(dev, r->run.precision);
    return dev;
}
