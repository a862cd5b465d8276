/*
 * QTest cases for fadump-dev: in the middle of a migration or a snapshot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A crash, a release, a request to discard: the machine lives, and the dump is
 * right on both sides.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

#define RAM (384 * MiB)
#define TESTED (32 * MiB)

typedef enum Act { CRASH, RELEASE, DISCARD } Act;

static const Act acts[] = { CRASH, RELEASE, DISCARD };

static Fadump *start_busy(const Machine *m, bool held)
{
    Fadump *f = start(m, "");

    probe_features(f, ALL_FEATURES);
    /* this takes minutes, with as little bandwidth as there is */
    qtest_memset(f->qts, 2 * B, 0x5a, 16 * MiB);
    fill_ram(f);
    assert_register(f, OK);
    if (held) {
        crash_and_probe(f);
    }
    return f;
}

static void act_on(Fadump *f, Act act)
{
    g_autoptr(GByteArray) desc = NULL;

    if (act == CRASH) {
        crash_and_probe(f);
        desc = read_descriptor(f);
        /* memory stays where it is now */
        check_method(desc, TESTED, VIRTIO_FADUMP_METHOD_COPIED);
    } else if (act == RELEASE) {
        assert_request(f, RELEASE, OK);
    } else {
        assert_discard(f, TESTED, 8 * MiB, BUSY);
    }
}

/* The machine in which it has happened is alive, and has the dump or not. */
static void check_act(Fadump *f, Act act)
{
    if (act != RELEASE) {
        assert_state(f, DUMP_AVAILABLE);
        check_whole_dump(f);
        check_release(f);
    } else {
        probe_features(f, ALL_FEATURES);
        check_released(f);
        system_reset(f);
        probe_features(f, ALL_FEATURES);
        assert_unharmed(f);
    }
}

static const Machine private = {
    "private", "-M q35 -m 384M -smp 2 -device fadump-dev,boot-mem=128M",
    { { 0, RAM } }, { { 0, B } },
};

/* When pages could be fetched, but none is yet: the first machine runs. */
static void test_before_switch(const void *opaque)
{
    static const char *const caps[] = { "postcopy-ram", NULL };
    const Act act = *(const Act *)opaque;
    Fadump *src = start_busy(&private, act != CRASH);
    Fadump *dst;

    use_capabilities(src, caps);
    dst = start_postcopy(&private, src, caps);
    wait_sent(src);
    act_on(src, act);
    finish_postcopy(src, dst);
    stop(src);
    check_act(dst, act);
    stop(dst);
}

/* A snapshot is of the machine as it was when that began. */
static void test_in_background(const void *opaque)
{
    static const char *const caps[] = { "background-snapshot", NULL };
    const Act act = *(const Act *)opaque;
    Fadump *f = start_busy(&private, act != CRASH), *then;
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    use_capabilities(f, caps);
    limit_bandwidth(f, 64 * KiB);
    migrate_to(f, uri);
    wait_sent(f);
    act_on(f, act);
    limit_bandwidth(f, 100 * GiB);
    wait_migration(f, "completed");
    then = load_from(&private, path, f, "completed");
    unlink(path);
    check_act(f, act);
    stop(f);
    if (act == CRASH) {
        assert_state(then, REGISTERED);
        crash_and_probe(then);
    }
    check_act(then, DISCARD);
    stop(then);
}

/* A machine that has gone leaves memory that both have to the other one. */
static void test_gone(void)
{
    static const char *const caps[] = { "x-ignore-shared", NULL };
    g_autofree char *path = NULL, *uri = NULL, *opts = NULL, *ram = NULL;
    Machine m = { "gone", .ram = { { 0, RAM } }, .boot = { { 0, B } } };
    uint8_t page[4096], got[4096];
    Fadump *src, *dst;
    uint64_t addr;
    int fd;

    ram = shared_ram("384M", &fd);
    m.opts = opts = g_strdup_printf("-M q35 -m 384M -smp 2%s -device "
                                    "fadump-dev,boot-mem=128M", ram);
    src = start_busy(&m, true);
    path = g_build_filename(src->dir, "stream", NULL);
    uri = g_strdup_printf("file:%s", path);
    use_capabilities(src, caps);
    limit_bandwidth(src, 16 * KiB);
    migrate_to(src, uri);
    wait_sent(src);
    /* what the dump was in is given back when the migration has ended */
    act_on(src, RELEASE);
    limit_bandwidth(src, 100 * GiB);
    wait_migration(src, "completed");
    kill(qtest_pid(src->qts), SIGSTOP);
    dst = load_with(&m, path, src, "completed", caps);
    unlink(path);
    /* RAM is there again now */
    system_reset(dst);
    fill_ram(dst);
    kill(qtest_pid(src->qts), SIGCONT);
    g_usleep(3 * G_USEC_PER_SEC / 2);
    settle(src);
    for (addr = 0; next_sample(dst, &addr); addr += 4096) {
        make_pattern(page, addr);
        qtest_bufread(dst->qts, addr, got, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
        /* and that memory is the file's */
        g_assert_cmpint(pread(fd, got, sizeof(got), addr), ==, sizeof(got));
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
    }
    stop(dst);
    stop(src);
    close(fd);
}

static void add_acts(const char *name, void (*fn)(const void *opaque))
{
    static const char *const names[] = { "crash", "release", "discard" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(acts); i++) {
        g_autofree char *path = g_strdup_printf("fadump/%s/%s", name,
                                                names[i]);

        qtest_add_data_func(path, &acts[i], fn);
    }
}

void fadump_add_midway_tests(void)
{
    add_acts("before-switch", test_before_switch);
    add_acts("in-background", test_in_background);
    qtest_add_func("fadump/gone", test_gone);
}
