/*
 * QTest cases for fadump-dev: boots that do nothing, and a dump that the host
 * reads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "fadump-lib.h"

static void step(Fadump *f, int64_t seconds)
{
    qtest_clock_step(f->qts, seconds * NANOSECONDS_PER_SECOND);
    settle(f);
}

/* ------------------------------------------------------------------ */
/* boot-timeout                                                       */

static Fadump *start_held(const Machine *m, const char *more)
{
    Fadump *f = start_and_probe(m, more);

    assert_register(f, OK);
    trigger_panic(f);
    wait_count(f, &f->captured, 1, "panic");
    return f;
}

/* The boot has been ended by the device, and the next one has begun. */
static void assert_timed_out(Fadump *f, unsigned resets, int64_t boots)
{
    g_assert_cmpint(f->resets, ==, resets);
    g_assert_true(f->reset_by_guest);
    g_assert_cmpint(dump_number(f, "boots"), ==, boots);
    check_confinement(f, true);
}

/* Firmware that cannot start resets itself for ever, and no driver comes. */
static void test_timeout_loop(const void *opaque)
{
    Fadump *f = start_held(opaque, ",boot-timeout=60,max-boots=2");
    unsigned resets = f->resets;
    int i;

    for (i = 0; i < 5; i++) {
        step(f, 11);
        if (i % 2) {
            guest_reset(f);
        } else {
            system_reset(f);
        }
        resets++;
        g_assert_cmpint(dump_number(f, "boots"), ==, 0);
    }
    step(f, 6);
    assert_timed_out(f, ++resets, 1);
    /* the time is that of one boot, not of what is left of the last */
    step(f, 55);
    guest_reset(f);
    g_assert_cmpint(f->resets, ==, ++resets);
    g_assert_cmpint(f->released, ==, 0);
    step(f, 6);
    g_assert_cmpint(f->resets, ==, ++resets);
    wait_count(f, &f->released, 1, "max-boots");
    check_confinement(f, false);
    step(f, 200);
    g_assert_cmpint(f->resets, ==, resets);
    probe(f);
    check_released(f);
    assert_unharmed(f);
    stop(f);
}

/* A boot that hangs, with nobody who resets it */
static void test_timeout_hang(const void *opaque)
{
    Fadump *f = start_held(opaque, ",boot-timeout=60,max-boots=3");
    unsigned resets = f->resets;
    int i;

    for (i = 1; i < 3; i++) {
        step(f, 59);
        g_assert_cmpint(f->resets, ==, resets);
        step(f, 2);
        assert_timed_out(f, ++resets, i);
    }
    step(f, 61);
    wait_count(f, &f->released, 1, "max-boots");
    check_confinement(f, false);
    stop(f);
}

/* What says that the boot is alive, or that somebody cares */
static void test_timeout_ends(const void *opaque)
{
    Fadump *f = start_held(opaque, ",boot-timeout=60,max-boots=9");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    g_autofree char *file = g_strdup_printf("file:%s", path);
    unsigned resets;
    int fd;

    /* a driver, in this boot only */
    step(f, 59);
    probe(f);
    resets = f->resets;
    step(f, 200);
    g_assert_cmpint(f->resets, ==, resets);
    assert_state(f, DUMP_AVAILABLE);
    system_reset(f);
    step(f, 61);
    assert_timed_out(f, resets + 2, 2);

    /* the host, while it reads */
    fd = save_to_pipe(f);
    resets = f->resets;
    step(f, 200);
    g_assert_cmpint(f->resets, ==, resets);
    cancel_save(f, 1, fd);
    step(f, 61);
    g_assert_cmpint(f->resets, ==, resets + 1);
    g_assert_cmpint(f->released, ==, 0);

    stop(f);

    f = start_held(opaque, ",boot-timeout=60,max-boots=9");
    g_free(path);
    g_free(file);
    path = g_build_filename(f->dir, "core", NULL);
    file = g_strdup_printf("file:%s", path);
    resets = f->resets;
    /* and once it has all, for the rest of this boot */
    qmp_save(f, file);
    wait_count(f, &f->save_ended, 1, "completed");
    step(f, 200);
    g_assert_cmpint(f->resets, ==, resets);
    g_assert_cmpint(dump_number(f, "boots"), ==, 0);
    system_reset(f);
    step(f, 59);
    g_assert_cmpint(f->resets, ==, ++resets);
    step(f, 2);
    assert_timed_out(f, ++resets, 1);
    /* one that failed is none */
    qmp_save(f, "file:/dev/full");
    wait_count(f, &f->save_ended, 2, "failed");
    step(f, 61);
    assert_timed_out(f, ++resets, 2);
    stop(f);

    /* without it a boot may take for ever */
    f = start_held(opaque, ",boot-timeout=0");
    resets = f->resets;
    step(f, 200);
    g_assert_cmpint(f->resets, ==, resets);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    stop(f);
}

/* The time goes on elsewhere, and begins anew where there was none. */
static void test_timeout_migrate(const void *opaque)
{
    static const Machine from = {
        "from", "-M q35 -m 1G -smp 2,maxcpus=4 -device fadump-dev,"
                "boot-mem=128M,boot-timeout=60",
        { { 0, 1 * GiB } }, { { 0, B } },
    }, without = {
        "without", "-M q35 -m 1G -smp 2,maxcpus=4 -device fadump-dev,"
                   "boot-mem=128M,boot-timeout=0",
        { { 0, 1 * GiB } }, { { 0, B } },
    };
    Fadump *src, *dst;
    unsigned resets;
    int i;

    for (i = 0; i < 3; i++) {
        g_autofree char *path = NULL;

        src = start_held(i == 1 ? &without : &from, "");
        path = g_build_filename(src->dir, "stream", NULL);
        step(src, 30);
        save_to(src, path);
        dst = load_from(i == 2 ? &without : &from, path, src, "completed");
        unlink(path);
        stop(src);
        resets = dst->resets;
        step(dst, 20);
        g_assert_cmpint(dst->resets, ==, resets);
        check_confinement(dst, true);
        step(dst, i == 2 ? 200 : 61);
        g_assert_cmpint(dst->resets, ==, resets + (i == 2 ? 0 : 1));
        g_assert_cmpint(dump_number(dst, "boots"), ==, i == 2 ? 0 : 1);
        check_confinement(dst, true);
        stop(dst);
    }
}

/* ------------------------------------------------------------------ */
/* loadvm                                                             */

/* All that comes, to a file */
static gpointer drain(gpointer opaque)
{
    int *fds = opaque;
    static char buf[64 * KiB];
    ssize_t n;

    while ((n = read(fds[0], buf, sizeof(buf))) > 0) {
        g_assert_cmpint(write(fds[1], buf, n), ==, n);
    }
    g_assert_cmpint(n, ==, 0);
    return NULL;
}

/* A dump that is read is not replaced by what a snapshot has. */
static void test_loadvm(const void *opaque)
{
    g_autofree char *image = NULL, *options = NULL, *path = NULL, *said = NULL;
    struct stat st;
    GThread *thread;
    Fadump *f;
    int fds[2];

    options = snapshot_disk(&image);
    if (!options) {
        return;
    }
    f = start_and_probe(opaque, options);
    path = g_build_filename(f->dir, "core", NULL);
    assert_register(f, OK);
    assert_hmp(f, "savevm before");
    fill_ram(f);
    trigger_panic(f);
    wait_count(f, &f->captured, 1, "panic");

    fds[0] = save_to_pipe(f);
    said = hmp(f, "loadvm before");
    g_assert_nonnull(strstr(said, "being saved"));
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'cont' }");
    g_free(said);
    said = hmp(f, "savevm held");
    g_assert_nonnull(strstr(said, "being saved"));
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'cont' }");

    /* and what it wrote is the dump, all of it */
    fds[1] = open(path, O_WRONLY | O_CREAT, 0600);
    g_assert_cmpint(fds[1], >=, 0);
    thread = g_thread_new("drain", drain, fds);
    wait_count(f, &f->save_ended, 1, "completed");
    g_thread_join(thread);
    g_assert_cmpint(fstat(fds[1], &st), ==, 0);
    close(fds[0]);
    close(fds[1]);
    check_core(f, path, st.st_size);

    /* then both can be had: what was before, and the dump again */
    assert_hmp(f, "savevm held");
    assert_hmp(f, "loadvm before");
    settle(f);
    assert_state(f, REGISTERED);
    check_confinement(f, false);
    assert_hmp(f, "loadvm held");
    check_confinement(f, true);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    unlink(path);
    fds[0] = save_to_pipe(f);
    fds[1] = open(path, O_WRONLY | O_CREAT, 0600);
    thread = g_thread_new("drain", drain, fds);
    wait_count(f, &f->save_ended, 2, "completed");
    g_thread_join(thread);
    close(fds[0]);
    close(fds[1]);
    check_core(f, path, st.st_size);
    stop(f);
    unlink(image);
}

/* ------------------------------------------------------------------ */
/* The rest                                                           */

/* Whoever passes a file has the same open file. */
static void test_passed_fd(const void *opaque)
{
    Fadump *f = start_held(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "core", NULL);
    int fds[2], drained[2];
    GThread *thread;
    struct stat st;

    g_assert_true(g_unix_open_pipe(fds, FD_CLOEXEC, NULL));
    pass_fd(f, fds[1], "pipe");
    qmp_save(f, "fd:pipe");
    g_assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    settle(f);
    g_assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    /* full, and nobody reads: it can be cancelled all the same */
    cancel_save(f, 1, fds[0]);
    g_assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    close(fds[1]);

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    pass_fd(f, fds[1], "socket");
    qmp_save(f, "fd:socket");
    settle(f);
    g_assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    close(fds[1]);
    drained[0] = fds[0];
    drained[1] = open(path, O_WRONLY | O_CREAT, 0600);
    thread = g_thread_new("drain", drain, drained);
    wait_count(f, &f->save_ended, 2, "completed");
    g_thread_join(thread);
    g_assert_cmpint(fstat(drained[1], &st), ==, 0);
    g_assert_cmpint(st.st_size, >, GiB - MiB);
    close(drained[0]);
    close(drained[1]);
    stop(f);
}

/* What a guest can do again and again makes no flood of events. */
static void test_throttle(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    int i;

    for (i = 0; i < 50; i++) {
        assert_register(f, OK);
        assert_request(f, UNREGISTER, OK);
    }
    settle(f);
    g_assert_cmpint(f->registered, ==, 1);
    step(f, 2);
    g_assert_cmpint(f->registered, ==, 2);
    stop(f);
}

/* A registration that a crash kernel has inherited arrives as it is. */
static void test_migrate_yielded(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);

    probe_features(src, ALL_FEATURES);
    g_assert_cmpint(do_register(src, in_guest, 2, NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    trigger(src, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    trigger(src, VIRTIO_FADUMP_TRIGGER_YIELD);
    /* whose driver has negotiated nothing */
    probe_features(src, 1ull << VIRTIO_F_VERSION_1);
    save_to(src, path);
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);
    assert_state(dst, REGISTERED);
    g_assert_true(query_flag(dst, "will-yield"));
    g_assert_true(query_flag(dst, "yielded"));
    guest_reset(dst);
    g_assert_cmpint(dst->captured, ==, 0);
    g_assert_false(query_flag(dst, "will-yield"));
    g_assert_false(query_flag(dst, "yielded"));
    stop(dst);
}

void fadump_add_life_tests(void)
{
    add_test("timeout-loop", PC_1G, test_timeout_loop);
    add_test("timeout-loop", Q35_1G, test_timeout_loop);
    add_test("timeout-hang", Q35_1G, test_timeout_hang);
    add_test("timeout-ends", Q35_1G, test_timeout_ends);
    add_test("timeout-migrate", Q35_1G, test_timeout_migrate);
    add_test("loadvm", Q35_1G, test_loadvm);
    add_test("loadvm", Q35_SWAP, test_loadvm);
    add_test("passed-fd", Q35_1G, test_passed_fd);
    add_test("throttle", Q35_1G, test_throttle);
    add_test("migrate-yielded", Q35_1G, test_migrate_yielded);
}
