/*
 * QTest helpers for fadump-dev: the device's state in a migration stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* @what in @buf, where it must be once */
uint8_t *find_bytes(char *buf, gsize len, const void *what, gsize size)
{
    uint8_t *found = NULL;
    char *p = buf;

    while ((p = memmem(p, buf + len - p, what, size))) {
        /* there must be one, or the wrong one is broken */
        g_assert_null(found);
        found = (uint8_t *)p++;
    }
    g_assert_nonnull(found);
    return found;
}

StreamEnd *stream_end(Stream *s)
{
    return (StreamEnd *)((uint8_t *)(s + 1) + 16);
}

/* What the stream of @f says, which register_all() has registered. */
Stream *find_registered(const Fadump *f, char *buf, gsize len)
{
    const Stream want = {
        cpu_to_be64(B), cpu_to_be64(MAX(B, total_size(f->m->ram) / 4)),
        cpu_to_be64(f->window), cpu_to_be32(REGISTERED), cpu_to_be64(B),
        cpu_to_be64(VMCOREINFO_ADDR), cpu_to_be64(4096),
        cpu_to_be64(CRASH_NOTE_ADDR), cpu_to_be64(4096), 0, 0, 0, 0
    };

    return (Stream *)find_bytes(buf, len, &want, sizeof(want));
}

/*
 * Have the file @path, with the state of @f, say that a vCPU has panicked and
 * that the reset is still to come: between the two no test gets a command in.
 */
void make_dying(const Fadump *f, const char *path)
{
    /* the state of devices is at the end, behind all of RAM */
    const size_t max = 4 * MiB, size = sizeof(Stream) + 16 + sizeof(StreamEnd);
    g_autofree char *buf = g_malloc(max);
    /* in place: a machine may have it open */
    int fd = open(path, O_RDWR);
    off_t end = lseek(fd, 0, SEEK_END), start = MAX(end - (off_t)max, 0);
    StreamEnd *stream;
    Stream *s;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, buf, max, start), ==, end - start);
    s = find_registered(f, buf, end - start);
    stream = stream_end(s);
    s->life = cpu_to_be32(DYING_REGISTERED);
    stream->cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC);
    stream->cause_cpu = cpu_to_be32(1);
    g_assert_cmpint(pwrite(fd, s, size, start + ((char *)s - buf)), ==, size);
    close(fd);
}
