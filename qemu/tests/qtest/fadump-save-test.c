/*
 * QTest cases for fadump-dev: files that a dump is written to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever fails, a file with the name that was asked for is a whole dump, and
 * nothing else is left.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

static Fadump *start_held(const Machine *m, const char *faults)
{
    Fadump *f = start_faulty(m, faults, "");

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    return f;
}

/* How many files are in the test's directory */
static unsigned count_files(Fadump *f)
{
    GDir *dir = g_dir_open(f->dir, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* A call that fails, and what is told of it */
typedef struct Fault {
    const char *faults;
    /* a file of this name is there already */
    bool exists;
    const char *message;
} Fault;

static void test_save_faults(const void *opaque)
{
    static const Fault faults[] = {
        { "fsync=1", false, "cannot sync the file" },
        { "linkat=1", false, "cannot create " },
        { "linkat=2", true, "cannot create " },
        { "rename=1", true, "cannot create " },
        { "tmpfile,rename=1", true, "cannot create " },
        { "ftruncate=2", true, "cannot set the size of the file" },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(faults); i++) {
        const Fault *fault = &faults[i];
        Fadump *f = start_held(opaque, fault->faults);
        g_autofree char *path = g_build_filename(f->dir, "core", NULL);
        g_autofree char *file = g_strdup_printf("file:%s", path);
        g_autofree char *old = NULL;
        g_autofree char *said = NULL;
        unsigned before = count_files(f) + fault->exists;

        g_test_message("%s", fault->faults);
        if (fault->exists) {
            g_assert_true(g_file_set_contents(path, "old", -1, NULL));
        }
        qmp_save(f, file);
        wait_count(f, &f->save_ended, 1, "failed");
        said = qtest_hmp(f->qts, "info fadump");
        g_assert_nonnull(strstr(said, fault->message));
        g_assert_cmpint(count_files(f), ==, before);
        if (fault->exists) {
            g_assert_true(g_file_get_contents(path, &old, NULL, NULL));
            g_assert_cmpstr(old, ==, "old");
        }

        /* and the next one is as good as any */
        qmp_save(f, file);
        wait_count(f, &f->save_ended, 2, "completed");
        check_core(f, path, save_total(f, "completed"));
        g_assert_cmpint(count_files(f), ==, before + !fault->exists);
        stop(f);
    }
}

/* It has its name already when the directory cannot be synced. */
static void test_save_unsynced(const void *opaque)
{
    Fadump *f = start_held(opaque, "fsync=2");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *file = g_strdup_printf("file:%s", path);
    g_autofree char *said = NULL;

    qmp_save(f, file);
    wait_count(f, &f->save_ended, 1, "failed");
    said = qtest_hmp(f->qts, "info fadump");
    g_assert_nonnull(strstr(said, "cannot sync "));
    stop(f);
}

/* Where a file cannot be without a name, it has another one meanwhile. */
static void test_save_no_tmpfile(const void *opaque)
{
    Fadump *f = start_held(opaque, "tmpfile,ftruncate=1");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *file = g_strdup_printf("file:%s", path);
    g_autofree char *missing = g_strdup_printf("file:%s/x/y", f->dir);
    unsigned before = count_files(f);

    assert_save_refused(f, missing);
    /* this one cannot be emptied */
    assert_save_refused(f, file);
    g_assert_cmpint(count_files(f), ==, before);
    qmp_save(f, file);
    wait_count(f, &f->save_ended, 1, "completed");
    check_core(f, path, save_total(f, "completed"));
    g_assert_cmpint(count_files(f), ==, before + 1);
    stop(f);
}

/* What is not a file of a name */
static void test_save_targets(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *below = g_strdup_printf("file:%s/x", path);
    uint8_t buf[64 * KiB];
    uint64_t got = 0;
    ssize_t n;
    int fds[2], fd;

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    assert_save_refused(f, "file:/dev/fdset/99");
    g_assert_true(g_file_set_contents(path, "old", -1, NULL));
    assert_save_refused(f, below);
    /* one that cannot be written */
    fd = open(path, O_RDONLY);
    g_assert_cmpint(fd, >=, 0);
    pass_fd(f, fd, "file");
    close(fd);
    assert_save_refused(f, "fd:file");
    unlink(path);

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    pass_fd(f, fds[1], "socket");
    close(fds[1]);
    qmp_save(f, "fd:socket");
    while ((n = read(fds[0], buf, sizeof(buf))) > 0) {
        got += n;
    }
    close(fds[0]);
    wait_count(f, &f->save_ended, 1, "completed");
    g_assert_cmpint(got, ==, save_total(f, "completed"));

    /* a reader that goes away */
    fd = save_to_pipe(f);
    close(fd);
    wait_count(f, &f->save_ended, 2, "failed");
    stop(f);
}

/* QEMU does not wait for a reader when it ends. */
static void test_save_exit(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    gint64 begin;
    int fd;

    assert_register(f, OK);
    crash(f);
    fd = save_to_pipe(f);
    begin = g_get_monotonic_time();
    stop(f);
    g_assert_cmpint(g_get_monotonic_time() - begin, <,
                    15 * timeout_scale() * G_USEC_PER_SEC);
    close(fd);
}

void fadump_add_save_tests(void)
{
    add_test("save-faults", Q35_1G, test_save_faults);
    add_test("save-unsynced", Q35_1G, test_save_unsynced);
    add_test("save-no-tmpfile", Q35_1G, test_save_no_tmpfile);
    add_test("save-targets", Q35_1G, test_save_targets);
    add_test("save-exit", Q35_1G, test_save_exit);
}
