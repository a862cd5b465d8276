/*
 * QTest helpers for fadump-dev: migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

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

    migrate_to(f, uri);
    wait_migration(f, "completed");
}

/*
 * The device of a machine that came here with the state of @old, as it is: no
 * driver is up anew.
 */
void adopt_device(Fadump *f, const Fadump *old)
{
    find_device(f);
    f->dev->bar = old->dev->bar;
    f->dev->vdev.features = old->dev->vdev.features;
    f->dev->vdev.features_negotiated = true;
    f->window = old->window;
    f->window_len = old->window_len;
    if (!f->captured) {
        g_strlcpy(f->dump_id, old->dump_id, sizeof(f->dump_id));
    }
}

void use_capabilities(Fadump *f, const char *const *names)
{
    for (; *names; names++) {
        qtest_qmp_assert_success(f->qts, "{ 'execute': "
            "'migrate-set-capabilities', 'arguments': { 'capabilities': [ "
            "{ 'capability': %s, 'state': true } ] } }", *names);
    }
}

/* A machine that waits for @uri */
Fadump *start_incoming(const Machine *m, const char *uri,
                       const char *const *capabilities)
{
    Fadump *f = start(m, " -incoming defer");

    use_capabilities(f, capabilities);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s, "
                             "'exit-on-error': false } }", uri);
    return f;
}

Fadump *load_with(const Machine *m, const char *path, const Fadump *old,
                  const char *goal, const char *const *capabilities)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    Fadump *f = start_incoming(m, uri, capabilities);

    wait_migration(f, goal);
    if (g_str_equal(goal, "completed")) {
        adopt_device(f, old);
    }
    return f;
}

/* Load @path into a machine like that of @old, and find its device as it is. */
Fadump *load_from(const Machine *m, const char *path, const Fadump *old,
                  const char *goal)
{
    const char *const none[] = { NULL };

    return load_with(m, path, old, goal, none);
}

/* ------------------------------------------------------------------ */
/* In the middle                                                      */

void limit_bandwidth(Fadump *f, uint64_t bytes)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate-set-parameters', "
        "'arguments': { 'max-bandwidth': %" PRIu64 ", "
        "'max-postcopy-bandwidth': %" PRIu64 " } }", bytes, bytes);
}

void migrate_to(Fadump *f, const char *uri)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
}

/* Most of RAM goes when the other side runs, and the rest did before. */
Fadump *start_postcopy(const Machine *m, Fadump *src,
                       const char *const *caps)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/socket", src->dir);
    Fadump *dst = start_incoming(m, uri, caps);

    limit_bandwidth(src, 64 * KiB);
    migrate_to(src, uri);
    wait_migration(src, "active");
    return dst;
}

void finish_postcopy(Fadump *src, Fadump *dst)
{
    qtest_qmp_assert_success(src->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    limit_bandwidth(src, 100 * GiB);
    wait_migration(src, "completed");
    wait_migration(dst, "completed");
    adopt_device(dst, src);
}

/* Wait until so many pages of RAM have been sent. */
void wait_pages(Fadump *f, int64_t expected)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    int64_t pages = 0;

    while (pages < expected && g_get_monotonic_time() < end) {
        QDict *rsp = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                                  "'query-migrate' }");
        QDict *ram = qdict_get_qdict(rsp, "ram");

        /* not there before it has begun */
        if (ram) {
            pages = qdict_get_int(ram, "duplicate") +
                    qdict_get_int(ram, "normal");
        }
        qobject_unref(rsp);
        g_usleep(10000);
    }
    g_assert_cmpint(pages, >=, expected);
}

/* Wait until RAM is being sent, and what goes ahead of it has been. */
void wait_sent(Fadump *f)
{
    wait_pages(f, 1);
}

/*
 * Options for @size of RAM in a file that two machines can have; the caller
 * closes *@fd, and frees.
 */
char *shared_ram(const char *size, int *fd)
{
    *fd = memfd_create("ram", MFD_CLOEXEC);
    g_assert_cmpint(*fd, >=, 0);
    return g_strdup_printf(" -M memory-backend=m -object memory-backend-file,"
                           "id=m,size=%s,share=on,mem-path=/proc/%d/fd/%d",
                           size, (int)getpid(), *fd);
}
