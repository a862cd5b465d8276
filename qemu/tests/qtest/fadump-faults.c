/*
 * Faults for the test of fadump-dev: a library that is preloaded into QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the kernel does at limits that a test cannot reach otherwise, or on a
 * file system that is not there. FADUMP_FAULTS is a list of
 *
 *   mremap       mremap(MREMAP_FIXED) unmaps its destination, and fails
 *   mmap         what has been unmapped so cannot be mapped again
 *   populate=N   the N-th madvise(MADV_POPULATE_WRITE) fails
 *   mbind        no policy may be set, as in many containers
 *   tmpfile      the file system has no files without a name
 *   fsync=N      the N-th fsync() fails, and so on
 *   linkat=N
 *   rename=N
 *   ftruncate=N
 *   pwritev      pwritev() takes its time, as on a server that is far away
 */

#include "qemu/osdep.h"
#include <dlfcn.h>
#include <sys/syscall.h>
#ifdef CONFIG_NUMA
#include <numaif.h>
#endif
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

/* Whether this is the one of the calls, counted in @calls, that is to fail */
static bool is_nth(const char *fault, int *calls)
{
    const char *nth = wanted(fault) ?
                      strstr(getenv("FADUMP_FAULTS"), fault) + strlen(fault) :
                      NULL;

    return nth && qatomic_inc_fetch(calls) == atoi(nth);
}

int madvise(void *addr, size_t len, int advice)
{
    static int (*real)(void *, size_t, int);
    static int calls;

    if (advice == MADV_POPULATE_WRITE && is_nth("populate=", &calls)) {
        errno = ENOMEM;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "madvise");
    }
    return real(addr, len, advice);
}

#ifdef CONFIG_NUMA
long mbind(void *addr, unsigned long len, int mode, const unsigned long *nodes,
           unsigned long max, unsigned flags)
{
    if (wanted("mbind")) {
        errno = EPERM;
        return -1;
    }
    return syscall(SYS_mbind, addr, len, mode, nodes, max, flags);
}
#endif

int open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    if ((flags & O_TMPFILE) == O_TMPFILE && wanted("tmpfile")) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "open64");
    }
    return real(path, flags, mode);
}

int fsync(int fd)
{
    static int (*real)(int);
    static int calls;

    if (is_nth("fsync=", &calls)) {
        errno = EIO;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "fsync");
    }
    return real(fd);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    static int (*real)(int, const char *, int, const char *, int);
    static int calls;

    if (is_nth("linkat=", &calls)) {
        errno = EIO;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "linkat");
    }
    return real(from_fd, from, to_fd, to, flags);
}

int rename(const char *from, const char *to)
{
    static int (*real)(const char *, const char *);
    static int calls;

    if (is_nth("rename=", &calls)) {
        errno = EIO;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "rename");
    }
    return real(from, to);
}

int ftruncate64(int fd, off_t size)
{
    static int (*real)(int, off_t);
    static int calls;

    if (is_nth("ftruncate=", &calls)) {
        errno = EIO;
        return -1;
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "ftruncate64");
    }
    return real(fd, size);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);

    if (wanted("pwritev")) {
        sleep(2);
    }
    if (!real) {
        real = dlsym(RTLD_NEXT, "pwritev64");
    }
    return real(fd, iov, n, off);
}
