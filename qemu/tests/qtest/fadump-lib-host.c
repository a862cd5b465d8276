/*
 * QTest helpers for fadump-dev: what the host does, and what kills a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qemu/timer.h"
#include "fadump-lib.h"

void wait_count(Fadump *f, const unsigned *count, unsigned expected,
                const char *why)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (*count < expected) {
        if (g_get_monotonic_time() > end) {
            g_autofree char *info = qtest_hmp(f->qts, "info fadump");

            fprintf(stderr, "no event \"%s\": %s", why, info);
            g_assert_cmpint(*count, ==, expected);
        }
        g_usleep(1000);
        settle(f);
    }
    g_assert_cmpint(*count, ==, expected);
    g_assert_cmpstr(f->why, ==, why);
}

void assert_qmp_refused(Fadump *f, const char *command)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': %s }",
                                                command);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    qobject_unref(error);
}

void qmp_trigger(Fadump *f)
{
    unsigned before = f->resets;

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-trigger' }");
    wait_reset(f, before);
    g_assert_false(f->reset_by_guest);
}

/* The ISA watchdog at port 0x443, made to expire at once. */
void expire_watchdog(Fadump *f)
{
    unsigned before = f->resets;

    qtest_outb(f->qts, 0x443, 0xe);
    qtest_clock_step(f->qts, 3 * NANOSECONDS_PER_SECOND);
    wait_reset(f, before);
    g_assert_true(f->reset_by_guest);
}

void write_pvpanic(Fadump *f)
{
    qtest_outb(f->qts, 0x505, 1);
    settle(f);
}

bool query_flag(Fadump *f, const char *name)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    bool flag = qdict_get_bool(info, name);

    qobject_unref(info);
    return flag;
}

bool query_early(Fadump *f)
{
    return query_flag(f, "early");
}

/* ------------------------------------------------------------------ */
/* Snapshots                                                          */

char *hmp(Fadump *f, const char *command)
{
    return qtest_hmp(f->qts, "%s", command);
}

void assert_hmp(Fadump *f, const char *command)
{
    g_autofree char *said = hmp(f, command);

    g_assert_cmpstr(said, ==, "");
}

/* The options for a disk that has room for snapshots, or NULL: no qemu-img */
char *snapshot_disk(char **image)
{
    g_autofree char *dir = g_path_get_dirname(g_getenv("QTEST_QEMU_BINARY"));
    g_autofree char *beside = g_build_filename(dir, "qemu-img", NULL);
    const char *img = g_getenv("QTEST_QEMU_IMG") ?: beside;
    g_autofree char *cmd = NULL;
    int fd = g_file_open_tmp("fadump-test-XXXXXX", image, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    cmd = g_strdup_printf("%s create -q -f qcow2 %s 64M", img, *image);
    if (!g_file_test(img, G_FILE_TEST_IS_EXECUTABLE) ||
        !g_spawn_command_line_sync(cmd, NULL, NULL, NULL, NULL)) {
        unlink(*image);
        g_test_skip("there is no qemu-img");
        return NULL;
    }
    return g_strdup_printf(" -drive if=none,id=d,format=qcow2,file=%s",
                           *image);
}

/* ------------------------------------------------------------------ */
/* A dump that the host reads                                         */

void qmp_save(Fadump *f, const char *protocol)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save', "
                             "'arguments': { 'protocol': %s } }", protocol);
}

/* Pass @fd as @name; the test keeps its own. */
void pass_fd(Fadump *f, int fd, const char *name)
{
    qtest_qmp_fds_assert_success(f->qts, &fd, 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': %s } }", name);
}

/* A save that does not end before it is read from, and where to read */
int save_to_pipe(Fadump *f)
{
    int fds[2];

    g_assert_true(g_unix_open_pipe(fds, FD_CLOEXEC, NULL));
    pass_fd(f, fds[1], "pipe");
    qmp_save(f, "fd:pipe");
    close(fds[1]);
    return fds[0];
}

void cancel_save(Fadump *f, unsigned ended, int fd)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save-cancel' }");
    wait_count(f, &f->save_ended, ended, "cancelled");
    close(fd);
}

/* ------------------------------------------------------------------ */
/* All of a dump                                                      */

/* What fadump-save writes of the dump: a file that is in memory alone */
int save_core(Fadump *f)
{
    int fd = memfd_create("core", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    pass_fd(f, fd, "core");
    qmp_save(f, "fd:core");
    wait_count(f, &f->save_ended, f->save_ended + 1, "completed");
    return fd;
}

void assert_same_core(int a, int b)
{
    g_autofree char *bufs = g_malloc(2 * MiB);
    off_t at = 0;
    ssize_t n;

    while ((n = pread(a, bufs, MiB, at)) > 0) {
        g_assert_cmpint(pread(b, bufs + MiB, MiB, at), ==, n);
        g_assert_true(memcmp(bufs, bufs + MiB, n) == 0);
        at += n;
    }
    g_assert_cmpint(n, ==, 0);
    g_assert_cmpint(pread(b, bufs, 1, at), ==, 0);
    g_assert_cmpint(at, >, MiB);
}

/* All of fill_ram() is there. */
void check_whole_core(Fadump *f, int core)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", core);
    struct stat st;

    g_assert_cmpint(fstat(core, &st), ==, 0);
    check_core(f, path, st.st_size);
}

void check_whole_dump(Fadump *f)
{
    int core = save_core(f);

    check_whole_core(f, core);
    close(core);
}

/* @addr of the crashed RAM was set aside by @method. */
void check_method(const GByteArray *desc, uint64_t addr, uint32_t method)
{
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_range *r = (const void *)
        (desc->data + le64_to_cpu(h->ranges_off));
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        if (addr - le64_to_cpu(r[i].addr) < le64_to_cpu(r[i].len)) {
            g_assert_cmpint(le32_to_cpu(r[i].method), ==, method);
            return;
        }
    }
    g_assert_not_reached();
}

/* Give back the dump that is held; then all is as ever. */
void check_release(Fadump *f)
{
    probe_features(f, ALL_FEATURES);
    assert_state(f, DUMP_AVAILABLE);
    assert_request(f, RELEASE, OK);
    check_released(f);
    system_reset(f);
    check_confinement(f, false);
    probe_features(f, ALL_FEATURES);
    assert_unharmed(f);
}

Fadump *start_faulty(const Machine *m, const char *faults, const char *more)
{
    g_autofree char *library = g_test_build_filename(G_TEST_BUILT,
                                                     "libfadump-faults.so",
                                                     NULL);
    Fadump *f;

    g_assert_true(g_file_test(library, G_FILE_TEST_EXISTS));
    g_setenv("LD_PRELOAD", library, true);
    g_setenv("FADUMP_FAULTS", faults, true);
    f = start_and_probe(m, more);
    g_unsetenv("LD_PRELOAD");
    g_unsetenv("FADUMP_FAULTS");
    return f;
}

void crash(Fadump *f)
{
    unsigned captured = f->captured;

    trigger_panic(f);
    wait_count(f, &f->captured, captured + 1, "panic");
}

void release(Fadump *f)
{
    assert_request(f, RELEASE, OK);
    assert_state(f, IDLE);
}

void assert_save_refused(Fadump *f, const char *protocol)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
        "'fadump-save', 'arguments': { 'protocol': %s } }", protocol);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    qobject_unref(error);
}

uint64_t save_total(Fadump *f, const char *status)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    QDict *save = qdict_get_qdict(info, "save");
    uint64_t total = qdict_get_int(save, "total");

    g_assert_cmpstr(qdict_get_str(save, "status"), ==, status);
    qobject_unref(info);
    return total;
}
