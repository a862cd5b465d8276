/*
 * QTest cases for fadump-dev: RAM that is relocated, and given back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * At limits of the host, in the middle of a migration, and what is left of it
 * afterwards: mappings, their attributes, memory.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qemu/timer.h"
#include "fadump-lib.h"

#define TESTED (20 * MiB)

/* ------------------------------------------------------------------ */
/* QEMU's memory, as the host has it                                  */

/* Of a part of QEMU's address space */
typedef struct Mapping {
    uint64_t rss;
    /* mappings that have this in their VmFlags */
    unsigned nr, nr_dontdump, nr_mergeable, nr_nohuge;
} Mapping;

/* The lines of one mapping in smaps are behind the one with its addresses. */
static Mapping look_at(Fadump *f, uint64_t start, uint64_t size)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps",
                                            (int)qtest_pid(f->qts));
    g_autofree char *smaps = NULL;
    g_auto(GStrv) lines = NULL;
    Mapping m = { };
    bool inside = false;
    size_t i;

    g_assert_true(g_file_get_contents(path, &smaps, NULL, NULL));
    lines = g_strsplit(smaps, "\n", 0);
    for (i = 0; lines[i]; i++) {
        uint64_t from, to, kib;

        if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            inside = from < start + size && start < to;
            m.nr += inside;
        } else if (inside && sscanf(lines[i], "Rss: %" SCNu64, &kib) == 1) {
            m.rss += kib * KiB;
        } else if (inside && g_str_has_prefix(lines[i], "VmFlags:")) {
            m.nr_dontdump += !!strstr(lines[i], " dd");
            m.nr_mergeable += !!strstr(lines[i], " mg");
            m.nr_nohuge += !!strstr(lines[i], " nh");
        }
    }
    return m;
}

/* Where a RAM block lies in QEMU's address space */
static uint64_t block_address(Fadump *f, const char *name)
{
    g_autofree char *said = qtest_hmp(f->qts, "info ramblock");
    g_auto(GStrv) lines = g_strsplit(said, "\n", 0);
    size_t i;

    for (i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        const char *addr = strstr(line, " 0x");

        if (g_str_has_prefix(line, name) && line[strlen(name)] == ' ') {
            const char *next;

            /* the last but one of its columns, the last is rw or ro */
            while ((next = strstr(addr + 1, " 0x"))) {
                addr = next;
            }
            return g_ascii_strtoull(addr + 1, NULL, 16);
        }
    }
    g_assert_not_reached();
}

static uint64_t held_address(Fadump *f)
{
    return block_address(f, "0000:00:04.0/fadump-dump");
}

/* The held area, in the window behind the descriptor */
static Mapping look_at_held(Fadump *f)
{
    return look_at(f, held_address(f), f->window_len - 2 * MiB);
}

/* Memory is given back when nothing has anything against it any more. */
static void wait_given_back(Fadump *f)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (look_at_held(f).rss && g_get_monotonic_time() < end) {
        g_usleep(10000);
        settle(f);
    }
    g_assert_cmpint(look_at_held(f).rss, ==, 0);
}

/* and what stood in for RAM at a reset after that */
static void reset_until_given_back(Fadump *f)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (look_at_held(f).rss && g_get_monotonic_time() < end) {
        g_usleep(10000);
        system_reset(f);
    }
    g_assert_cmpint(look_at_held(f).rss, ==, 0);
}

static uint64_t dump_number(Fadump *f, const char *name)
{
    QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                               "'query-fadump' }");
    uint64_t n = qdict_get_int(qdict_get_qdict(info, "dump"), name);

    qobject_unref(info);
    return n;
}

/* All of RAM's samples are in the dump, wherever it says that they are. */
static void check_dump(Fadump *f)
{
    g_autoptr(GByteArray) desc = read_descriptor(f);
    unsigned count[4];

    check_places(f, desc, count);
    g_assert_cmpint(count[0] + count[VIRTIO_FADUMP_WHERE_GUEST], ==, 0);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], >, 3);
}

/* A crash that must be captured, whatever is the matter */
static void crash(Fadump *f)
{
    unsigned captured = f->captured;

    trigger_panic(f);
    wait_count(f, &f->captured, captured + 1, "panic");
}

static void release(Fadump *f)
{
    assert_request(f, RELEASE, OK);
    assert_state(f, IDLE);
}

/* ------------------------------------------------------------------ */
/* Limits                                                             */

static void limit_address_space(Fadump *f, rlim_t soft)
{
    pid_t pid = qtest_pid(f->qts);
    struct rlimit limit;

    g_assert_cmpint(prlimit(pid, RLIMIT_AS, NULL, &limit), ==, 0);
    limit.rlim_cur = MIN(soft, limit.rlim_max);
    g_assert_cmpint(prlimit(pid, RLIMIT_AS, &limit, NULL), ==, 0);
}

/* In /proc/PID/status, in KiB there */
static uint64_t status_bytes(Fadump *f, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            (int)qtest_pid(f->qts));
    g_autofree char *status = NULL;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    return g_ascii_strtoull(strstr(status, name) + strlen(name), NULL, 10) *
           KiB;
}

/* mremap() is refused when it has already unmapped where pages were to go. */
static void test_limit(const void *opaque)
{
    /* of address space, besides what is used; it may well be less */
    static const int64_t more[] = { 4 * MiB, -4 * (int64_t)MiB };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(more); i++) {
        Fadump *f = start_and_probe(opaque, "");
        Mapping before;

        fill_ram(f);
        assert_register(f, OK);
        before = look_at_held(f);
        limit_address_space(f, status_bytes(f, "\nVmSize:") + more[i]);
        crash(f);
        limit_address_space(f, RLIM_INFINITY);
        probe(f);
        g_assert_cmpint(dump_number(f, "moved"), ==, 0);
        check_dump(f);
        release(f);
        system_reset(f);
        wait_given_back(f);
        g_assert_cmpint(look_at_held(f).nr, <=, before.nr);

        /* nothing is lost but this once */
        probe(f);
        fill_ram(f);
        assert_register(f, OK);
        crash(f);
        probe(f);
        g_assert_cmpint(dump_number(f, "moved"), >, B - 2 * MiB);
        check_dump(f);
        stop(f);
    }
}

static Fadump *start_faulty(const Machine *m, const char *faults,
                            const char *more)
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

/* What was unmapped is mapped again, like it was. */
static void test_repair(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "mremap", ",x-swap=off");
    Mapping before = look_at_held(f), after;

    g_assert_cmpint(before.nr_mergeable, ==, before.nr);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    g_assert_cmpint(dump_number(f, "copied"), ==, B);
    check_dump(f);
    after = look_at_held(f);
    g_assert_cmpint(after.nr_mergeable, ==, after.nr);
    g_assert_cmpint(after.nr_dontdump, ==, 0);
    release(f);
    wait_given_back(f);
    stop(f);
}

/* To other RAM of the guest's, where a gap would be one in its memory */
static void test_repair_guest_mem(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    Fadump *f = start_faulty(opaque, "mremap", "");
    g_autoptr(GByteArray) desc = NULL;
    unsigned count[4];

    probe_features(f, ALL_FEATURES);
    fill_ram(f);
    g_assert_cmpint(do_register(f, in_guest, ARRAY_SIZE(in_guest), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    crash(f);
    probe_features(f, ALL_FEATURES);
    g_assert_cmpint(dump_number(f, "copied"), ==, B);
    desc = read_descriptor(f);
    check_places(f, desc, count);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
    stop(f);
}

/* What cannot be mapped again is not used again, and QEMU lives. */
static void test_lost(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "mremap,mmap", "");
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);
    unsigned i;

    for (i = 0; i < 2; i++) {
        fill_ram(f);
        assert_register(f, OK);
        trigger_panic(f);
        wait_count(f, &f->failed, i + 1, "panic");
        check_confinement(f, false);
        probe(f);
        check_released(f);
    }
    /* it is not read either */
    save_to(f, path);
    unlink(path);
    stop(f);
}

/* ------------------------------------------------------------------ */
/* What is left                                                       */

/* The mapping that mremap() makes is one as where the pages were. */
static void test_attributes(const void *opaque)
{
    const Machine m = {
        "attributes",
        "-M q35,memory-backend=m,dump-guest-core=on -m 1G -smp 2 "
        "-object memory-backend-ram,id=m,size=1G,dump=off "
        "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } },
    };
    Fadump *f = start_and_probe(&m, "");
    Mapping held, ram;

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    g_assert_cmpint(dump_number(f, "moved"), >, B - 2 * MiB);
    held = look_at_held(f);
    ram = look_at(f, block_address(f, "m"), GiB);
    g_assert_cmpint(held.nr_dontdump, ==, 0);
    g_assert_cmpint(held.nr_mergeable, ==, held.nr);
    g_assert_cmpint(ram.nr_dontdump, ==, ram.nr);
    check_dump(f);
    stop(f);
}

/* Page tables move in pieces of a gigabyte. */
static void test_congruent(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ",full=on");
    uint64_t ram = block_address(f, "pc.ram");
    g_autoptr(GByteArray) desc = NULL;
    const struct virtio_fadump_desc *h;
    const struct virtio_fadump_range *r;
    uint32_t i, large = 0;

    g_assert_cmphex(held_address(f) % GiB, ==, ram % GiB);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    check_dump(f);
    desc = read_descriptor(f);
    h = (const void *)desc->data;
    r = (const void *)(desc->data + le64_to_cpu(h->ranges_off));
    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        if (le64_to_cpu(r[i].len) >= GiB) {
            g_assert_cmphex((le64_to_cpu(r[i].dest) - 2 * MiB) % GiB, ==,
                            le64_to_cpu(r[i].addr) % GiB);
            large++;
        }
    }
    g_assert_cmpint(large, ==, 2);
    stop(f);
}

/* A backend that promises memory has it again, in the background. */
static void test_prealloc(const void *opaque)
{
    const Machine m = {
        "prealloc",
        "-M q35,memory-backend=m -m 1G -smp 2 "
        "-object memory-backend-ram,id=m,size=1G,prealloc=on "
        "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } },
    };
    Fadump *f = start_and_probe(&m, "");
    uint64_t ram = block_address(f, "m");
    unsigned i;

    g_assert_cmpint(look_at(f, ram, GiB).rss, ==, GiB);
    /* the second time while the first is still at it, perhaps */
    for (i = 0; i < 2; i++) {
        fill_ram(f);
        assert_register(f, OK);
        crash(f);
        probe(f);
        g_assert_cmpint(dump_number(f, "moved"), >, B - 2 * MiB);
        check_dump(f);
        release(f);
        system_reset(f);
        probe(f);
    }
    for (i = 0; look_at(f, ram, GiB).rss < GiB && i < 1000; i++) {
        g_usleep(10000);
    }
    g_assert_cmpint(look_at(f, ram, GiB).rss, ==, GiB);
    g_assert_cmpint(look_at_held(f).rss, ==, 0);
    stop(f);
}

/* The guest's own backend holds again after a reset that is no crash. */
static void test_restore(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    uint8_t page[4096], now[4096];

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    g_assert_cmpint(dump_number(f, "swapped"), >, B - 2 * MiB);
    check_dump(f);
    release(f);
    make_pattern(page, TESTED);
    page[0] ^= 1;
    qtest_memwrite(f->qts, TESTED, page, sizeof(page));
    /* what stands in for RAM is in use */
    g_assert_cmpint(look_at_held(f).rss, >=, sizeof(page));

    system_reset(f);
    wait_given_back(f);
    qtest_memread(f->qts, TESTED, now, sizeof(now));
    g_assert_cmpmem(now, sizeof(now), page, sizeof(page));

    /* and so it goes the next time */
    probe(f);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    check_dump(f);
    /* a reset while it is held changes nothing */
    system_reset(f);
    probe(f);
    g_assert_cmpint(dump_number(f, "swapped"), >, B - 2 * MiB);
    check_dump(f);
    stop(f);
}

/* A request is in flight at the crash, and its ring is in what is moved. */
static void test_ring(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, " -object iothread,id=t "
        "-blockdev driver=null-co,node-name=d,size=1M,read-zeroes=on,"
        "latency-ns=1000000000 "
        "-device virtio-blk-pci,drive=d,iothread=t,addr=5");
    QPCIAddress addr = { .devfn = QPCI_DEVFN(5, 0) };
    QVirtioPCIDevice *blk = virtio_pci_new(f->qs->pcibus, &addr);
    QVirtioDevice *vdev = &blk->vdev;
    /* type (0: read), priority, sector; data; status */
    uint64_t header[2] = { }, request;
    QVirtQueue *vq;
    uint32_t head;

    fill_ram(f);
    assert_register(f, OK);
    qvirtio_pci_device_enable(blk);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                               1ull << VIRTIO_F_VERSION_1);
    vq = qvirtqueue_setup(vdev, &f->qs->alloc, 0);
    qvirtio_set_driver_ok(vdev);
    g_assert_cmphex(vq->used, >, MiB);
    g_assert_cmphex(vq->used, <, B);
    request = guest_alloc(&f->qs->alloc, sizeof(header) + 512 + 1);
    qtest_memwrite(f->qts, request, header, sizeof(header));
    head = qvirtqueue_add(f->qts, vq, request, sizeof(header), false, true);
    qvirtqueue_add(f->qts, vq, request + sizeof(header), 512, true, true);
    qvirtqueue_add(f->qts, vq, request + sizeof(header) + 512, 1, true, false);
    qvirtqueue_kick(f->qts, vdev, vq, head);

    crash(f);
    /* the next boot's memory has nothing of it */
    g_assert_cmphex(qtest_readl(f->qts, vq->used), ==, 0);
    g_assert_cmphex(qtest_readq(f->qts, vq->used + 4), ==, 0);
    probe(f);
    g_assert_cmpint(dump_number(f, "capture-ns"), <, NANOSECONDS_PER_SECOND);
    check_dump(f);
    qvirtqueue_cleanup(vdev->bus, vq, &f->qs->alloc);
    g_free(blk->pdev);
    g_free(blk);
    stop(f);
}

/* ------------------------------------------------------------------ */
/* Migration                                                          */

static void set_capability(Fadump *f, const char *name)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': "
        "'migrate-set-capabilities', 'arguments': { 'capabilities': [ "
        "{ 'capability': %s, 'state': true } ] } }", name);
}

static void set_bandwidth(Fadump *f, uint64_t bytes)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate-set-parameters', "
        "'arguments': { 'max-bandwidth': %" PRIu64 ", "
        "'max-postcopy-bandwidth': %" PRIu64 " } }", bytes, bytes);
}

static void start_migration(Fadump *f, const char *uri)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
}

/* A migration to @path that does not get far until it is let go */
static void migrate_slowly(Fadump *f, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    qtest_memset(f->qts, 256 * MiB, 0x5a, 32 * MiB);
    set_bandwidth(f, 64 * KiB);
    start_migration(f, uri);
    wait_migration(f, "active");
}

static void let_go(Fadump *f)
{
    set_bandwidth(f, 100 * GiB);
    wait_migration(f, "completed");
}

static uint32_t discard(Fadump *f, uint64_t addr, uint64_t len)
{
    const struct virtio_fadump_discard req = {
        .hdr = {
            .type = cpu_to_le32(VIRTIO_FADUMP_REQ_DISCARD),
            .size = cpu_to_le32(sizeof(req)),
        },
        .addr = cpu_to_le64(addr),
        .len = cpu_to_le64(len),
    };

    return request_full(f, &req, sizeof(req), NULL, 0, 0, NULL);
}

/* A crash in the middle of an outgoing migration arrives with it. */
static void test_outgoing(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);

    fill_ram(src);
    assert_register(src, OK);
    migrate_slowly(src, path);
    crash(src);
    probe_features(src, ALL_FEATURES);
    g_assert_cmpint(dump_number(src, "copied"), ==, B);
    check_dump(src);
    g_assert_cmpint(discard(src, 64 * MiB, 2 * MiB), ==, VIRTIO_FADUMP_S_BUSY);
    let_go(src);
    dst = load_from(opaque, path, src, "completed");
    unlink(path);
    stop(src);
    assert_state(dst, DUMP_AVAILABLE);
    check_dump(dst);
    probe_features(dst, ALL_FEATURES);
    g_assert_cmpint(discard(dst, 64 * MiB, 2 * MiB), ==, VIRTIO_FADUMP_S_OK);
    release(dst);
    wait_given_back(dst);
    stop(dst);
}

/* Memory that is released meanwhile stays until the migration has ended. */
static void test_outgoing_release(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    migrate_slowly(f, path);
    release(f);
    g_assert_cmpint(look_at_held(f).rss, >, 0);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'migrate_cancel' }");
    wait_given_back(f);
    unlink(path);
    probe(f);
    assert_unharmed(f);
    stop(f);
}

/* A snapshot is of when it began, whatever is released while it is written. */
static void test_background_snapshot(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    probe(f);
    set_capability(f, "background-snapshot");
    migrate_slowly(f, path);
    release(f);
    let_go(f);
    wait_given_back(f);
    dst = load_from(opaque, path, f, "completed");
    unlink(path);
    stop(f);
    assert_state(dst, DUMP_AVAILABLE);
    check_dump(dst);
    stop(dst);
}

/* Start a postcopy migration to a machine that runs, and has little of it. */
static Fadump *begin_postcopy(const Machine *m, Fadump *src)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/socket", src->dir);
    Fadump *dst = start(m, " -incoming defer");
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;
    bool runs = false;

    set_capability(src, "postcopy-ram");
    set_capability(dst, "postcopy-ram");
    qtest_qmp_assert_success(dst->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s } }", uri);
    qtest_memset(src->qts, 256 * MiB, 0x5a, 64 * MiB);
    set_bandwidth(src, 64 * KiB);
    start_migration(src, uri);
    wait_migration(src, "active");
    qtest_qmp_assert_success(src->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    while (!runs && g_get_monotonic_time() < end) {
        QDict *info = qtest_qmp_assert_success_ref(dst->qts, "{ 'execute': "
                                                   "'query-status' }");

        runs = qdict_get_bool(info, "running");
        qobject_unref(info);
        g_usleep(10000);
    }
    g_assert_true(runs);
    wait_migration(src, "postcopy-active");
    find_device(dst);
    dst->dev->bar = src->dev->bar;
    dst->dev->vdev.features = src->dev->vdev.features;
    dst->dev->vdev.features_negotiated = true;
    dst->window = src->window;
    dst->window_len = src->window_len;
    return dst;
}

/* Pages that have not come yet are fetched, and are in the dump. */
static void test_postcopy_crash(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;

    fill_ram(src);
    assert_register(src, OK);
    dst = begin_postcopy(opaque, src);
    crash(dst);
    wait_migration(src, "postcopy-active");
    g_assert_cmpint(dump_number(dst, "copied"), ==, B);
    let_go(src);
    stop(src);
    probe(dst);
    check_dump(dst);
    release(dst);
    wait_given_back(dst);

    /* and then all is as ever */
    system_reset(dst);
    probe(dst);
    fill_ram(dst);
    assert_register(dst, OK);
    crash(dst);
    probe(dst);
    g_assert_cmpint(dump_number(dst, "copied"), <, B);
    check_dump(dst);
    stop(dst);
}

/* What is given back counts as received, and would never come. */
static void test_postcopy_release(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    uint64_t addr = 0;

    fill_ram(src);
    assert_register(src, OK);
    crash(src);
    probe_features(src, ALL_FEATURES);
    dst = begin_postcopy(opaque, src);
    assert_state(dst, DUMP_AVAILABLE);
    probe_features(dst, ALL_FEATURES);
    g_assert_cmpint(discard(dst, 64 * MiB, 2 * MiB), ==, VIRTIO_FADUMP_S_BUSY);
    check_dump(dst);
    wait_migration(src, "postcopy-active");
    release(dst);
    let_go(src);
    stop(src);
    reset_until_given_back(dst);
    /* all of RAM can be read */
    while (next_sample(dst, &addr)) {
        qtest_readq(dst->qts, addr);
        addr += 4096;
    }
    probe(dst);
    assert_unharmed(dst);
    stop(dst);
}

/* Memory that holds nothing is allocated by a migration on neither host. */
static void test_migrate_empty(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;

    assert_register(src, OK);
    dst = begin_postcopy(opaque, src);
    let_go(src);
    g_assert_cmpint(look_at_held(src).rss, ==, 0);
    g_assert_cmpint(look_at_held(dst).rss, ==, 0);
    stop(src);
    /* and it is there when it is wanted */
    crash(dst);
    probe(dst);
    assert_state(dst, DUMP_AVAILABLE);
    stop(dst);
}

/* ------------------------------------------------------------------ */
/* No room                                                            */

/* All of RAM does not go, but boot memory does. */
static void test_full_fallback(const void *opaque)
{
    Fadump *f = start_faulty(opaque, "populate=2", ",full=on");

    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    g_assert_nonnull(strstr(f->full_error, "no host memory"));
    check_confinement(f, true);
    probe(f);
    g_assert_cmpint(dump_number(f, "copied"), ==, B);
    check_dump(f);
    release(f);
    system_reset(f);
    check_confinement(f, false);
    wait_given_back(f);

    /* there is room the next time */
    probe(f);
    fill_ram(f);
    assert_register(f, OK);
    crash(f);
    g_assert_cmpstr(f->full_error, ==, "");
    check_confinement(f, false);
    probe(f);
    check_dump(f);
    stop(f);
}

void fadump_add_relocate_tests(void)
{
    add_test("limit", Q35_1G, test_limit);
    add_test("repair", Q35_1G, test_repair);
    add_test("repair-guest-mem", Q35_1G, test_repair_guest_mem);
    add_test("lost", Q35_1G, test_lost);
    qtest_add_data_func("fadump/attributes", NULL, test_attributes);
    add_test("congruent", PC_6G, test_congruent);
    qtest_add_data_func("fadump/prealloc", NULL, test_prealloc);
    add_test("restore", Q35_SWAP, test_restore);
    add_test("restore", Q35_MEMFD, test_restore);
    add_test("ring", Q35_1G, test_ring);
    add_test("ring", Q35_MEMFD, test_ring);
    add_test("outgoing", Q35_1G, test_outgoing);
    add_test("outgoing", Q35_MEMFD, test_outgoing);
    add_test("outgoing-release", Q35_1G, test_outgoing_release);
    add_test("background-snapshot", Q35_1G, test_background_snapshot);
    add_test("postcopy-crash", Q35_1G, test_postcopy_crash);
    add_test("postcopy-crash", Q35_MEMFD, test_postcopy_crash);
    add_test("postcopy-release", Q35_1G, test_postcopy_release);
    add_test("postcopy-release", Q35_MEMFD, test_postcopy_release);
    add_test("migrate-empty", Q35_1G, test_migrate_empty);
    add_test("migrate-empty", Q35_MEMFD, test_migrate_empty);
    add_test("full-fallback", Q35_COPY, test_full_fallback);
}
