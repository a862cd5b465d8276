/*
 * Faults for the test of fadump-dev: a library that is preloaded into QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the kernel does at limits that a test cannot reach otherwise.
 * FADUMP_FAULTS is a list of
 *
 *   mremap       mremap(MREMAP_FIXED) unmaps its destination, and fails
 *   mmap         what has been unmapped so cannot be mapped again
 *   populate=N   the N-th madvise(MADV_POPULATE_WRITE) fails
 *   mbind        no policy may be set, as in many containers
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <sys/syscall.h>
#include "qemu/atomic.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static bool wanted(const char *fault)
{
    const char *faults = getenv("FADUMP_FAULTS");

    return faults && strstr(faults, fault);
}

void *mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
    static void *(*real)(void *, size_t, size_t, int, ...);
    va_list ap;
    void *to;

    va_start(ap, flags);
    to = va_arg(ap, void *);
    va_end(ap);
    if (flags & MREMAP_FIXED && wanted("mremap")) {
        munmap(to, len);
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "mremap");
    }
    return real(old, old_len, len, flags, to);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);

    if (flags & MAP_FIXED_NOREPLACE && prot & PROT_WRITE && wanted("mmap")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "mmap64");
    }
    return real(addr, len, prot, flags, fd, off);
}

int madvise(void *addr, size_t len, int advice)
{
    static int (*real)(void *, size_t, int);
    static int populated;
    const char *nth = wanted("populate=") ?
                      strstr(getenv("FADUMP_FAULTS"), "populate=") + 9 : NULL;

    if (advice == MADV_POPULATE_WRITE && nth &&
        qatomic_inc_fetch(&populated) == atoi(nth)) {
        errno = ENOMEM;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "madvise");
    }
    return real(addr, len, advice);
}

long mbind(void *addr, unsigned long len, int mode, const unsigned long *nodes,
           unsigned long max, unsigned flags);

long mbind(void *addr, unsigned long len, int mode, const unsigned long *nodes,
           unsigned long max, unsigned flags)
{
    if (wanted("mbind")) {
        errno = EPERM;
        return -1;
    }
    return syscall(SYS_mbind, addr, len, mode, nodes, max, flags);
}
