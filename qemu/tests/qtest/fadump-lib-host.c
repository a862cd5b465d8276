/*
 * QTest helpers for fadump-dev: what the host does, and what kills a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "fadump-lib.h"

void wait_count(Fadump *f, const unsigned *count, unsigned expected,
                const char *why)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (*count < expected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
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

static char *migration_status(QTestState *qts)
{
    QDict *rsp = qtest_qmp_assert_success_ref(qts,
                                              "{ 'execute': 'query-migrate' }");
    char *status = g_strdup(qdict_get_try_str(rsp, "status") ?: "none");

    qobject_unref(rsp);
    return status;
}

void wait_migration(Fadump *f, const char *goal)
{
    gint64 end = g_get_monotonic_time() + 4 * TIMEOUT_US;

    for (;;) {
        g_autofree char *status = migration_status(f->qts);

        if (g_str_equal(status, goal)) {
            return;
        }
        if (g_str_equal(status, "failed") || g_str_equal(status, "completed") ||
            g_get_monotonic_time() > end) {
            g_test_message("migration: %s, expected %s", status, goal);
            g_test_fail();
            return;
        }
        g_usleep(10000);
    }
}

void save_to(Fadump *f, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
    wait_migration(f, "completed");
}

/* Load @path into a machine like that of @old, and find its device as it is. */
Fadump *load_from(const Machine *m, const char *path, const Fadump *old,
                  const char *goal)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    Fadump *f = start(m, " -incoming defer");

    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s, "
                             "'exit-on-error': false } }", uri);
    wait_migration(f, goal);
    if (g_str_equal(goal, "completed")) {
        find_device(f);
        f->dev->bar = old->dev->bar;
        f->dev->vdev.features = old->dev->vdev.features;
        f->dev->vdev.features_negotiated = true;
        f->window = old->window;
        f->window_len = old->window_len;
    }
    return f;
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

void qmp_save(Fadump *f, const char *protocol)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-save', "
                             "'arguments': { 'protocol': %s } }", protocol);
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

void pass_fd(Fadump *f, int fd, const char *name)
{
    qtest_qmp_fds_assert_success(f->qts, &fd, 1, "{ 'execute': 'getfd', "
                                 "'arguments': { 'fdname': %s } }", name);
}

int save_to_pipe(Fadump *f)
{
    int fds[2];

    g_assert_true(g_unix_open_pipe(fds, FD_CLOEXEC, NULL));
    pass_fd(f, fds[1], "pipe");
    qmp_save(f, "fd:pipe");
    close(fds[1]);
    return fds[0];
}
