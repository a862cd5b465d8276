/*
 * QTest cases for fadump-dev: RAM that is relocated, and given back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is left of it afterwards: mappings, their attributes, memory.
 */

#include "qemu/osdep.h"
#include "hw/9pfs/9p.h"
#include "qemu/timer.h"
#include "fadump-lib.h"

#define TESTED (20 * MiB)

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

static Other start_blk(Fadump *f)
{
    Other blk = start_other(f, 5, 0);

    g_assert_cmphex(blk.vq->used, >, MiB);
    g_assert_cmphex(blk.vq->used, <, B);
    return blk;
}

/* Read a sector, or write one that is full of @fill. */
static void request_blk(Fadump *f, Other *blk, bool write, uint64_t sector,
                        uint8_t fill)
{
    /* type, priority, sector; data; status */
    const uint64_t header[2] = { cpu_to_le64(write), cpu_to_le64(sector) };
    uint64_t request = guest_alloc(&f->qs->alloc, sizeof(header) + 512 + 1);
    uint64_t data = request + sizeof(header);
    uint32_t head;

    g_assert_cmphex(data, <, B);
    qtest_memwrite(f->qts, request, header, sizeof(header));
    qtest_memset(f->qts, data, fill, 512);
    head = qvirtqueue_add(f->qts, blk->vq, request, sizeof(header), false,
                          true);
    qvirtqueue_add(f->qts, blk->vq, data, 512, !write, true);
    qvirtqueue_add(f->qts, blk->vq, data + 512, 1, true, false);
    qvirtqueue_kick(f->qts, &blk->pci->vdev, blk->vq, head);
}

/* A request is in flight at the crash, and its ring is in what is moved. */
static void test_ring(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, " -object iothread,id=t "
        "-blockdev driver=null-co,node-name=d,size=1048576,read-zeroes=on,"
        "latency-ns=1000000000 "
        "-device virtio-blk-pci,drive=d,iothread=t,addr=5");
    Other blk;

    fill_ram(f);
    assert_register(f, OK);
    blk = start_blk(f);
    request_blk(f, &blk, false, 0, 0);

    crash(f);
    /* the next boot's memory has nothing of it */
    g_assert_cmphex(qtest_readl(f->qts, blk.vq->used), ==, 0);
    g_assert_cmphex(qtest_readq(f->qts, blk.vq->used + 4), ==, 0);
    probe(f);
    g_assert_cmpint(dump_number(f, "capture-ns"), <, NANOSECONDS_PER_SECOND);
    check_dump(f);
    stop_other(f, &blk);
    stop(f);
}

/* What a disk has not written yet, and writes when a reset lets it end */
static void test_writes(const void *opaque)
{
    enum { SECTORS = 4 };
    g_autofree char *image = NULL, *options = NULL, *written = NULL;
    int fd = g_file_open_tmp("fadump-test-XXXXXX", &image, NULL);
    uint8_t fill = 0xa0;
    gsize size;
    Fadump *f;
    int i, j;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, MiB), ==, 0);
    close(fd);
    /* one request is served, and no time passes for others */
    options = g_strdup_printf(" -object throttle-group,id=t,x-iops-total=1 "
        "-blockdev driver=file,node-name=f,filename=%s "
        "-blockdev driver=throttle,node-name=d,throttle-group=t,file=f "
        "-device virtio-blk-pci,drive=d,addr=5", image);
    f = start_and_probe(opaque, options);
    fill_ram(f);
    assert_register(f, OK);
    /* at a crash, and at the reset after which RAM would have its old place */
    for (i = 0; i < 2; i++, fill++) {
        Other blk = start_blk(f);

        for (j = 0; j < SECTORS; j++) {
            request_blk(f, &blk, true, j, fill + 16 * j);
        }
        if (!i) {
            crash(f);
        } else {
            system_reset(f);
        }
        stop_other(f, &blk);
        g_assert_true(g_file_get_contents(image, &written, &size, NULL));
        for (j = 0; j < SECTORS * 512; j++) {
            g_assert_cmphex((uint8_t)written[j], ==,
                            (uint8_t)(fill + 16 * (j / 512)));
        }
        g_clear_pointer(&written, g_free);
        if (!i) {
            probe(f);
            g_assert_cmpint(dump_number(f, "moved"), <, 2 * MiB);
            release(f);
        }
    }
    /* then there is nothing to wait for */
    system_reset(f);
    wait_given_back(f);
    unlink(image);
    stop(f);
}

static void put(GByteArray *m, uint64_t value, guint bytes)
{
    value = cpu_to_le64(value);
    g_byte_array_append(m, (const guint8 *)&value, bytes);
}

static void put_string(GByteArray *m, const char *string)
{
    put(m, strlen(string), 2);
    g_byte_array_append(m, (const guint8 *)string, strlen(string));
}

/* A 9P message, without its length */
static GByteArray *message(uint8_t type)
{
    GByteArray *m = g_byte_array_new();

    put(m, type, 1);
    put(m, type == P9_TVERSION ? P9_NOTAG : 0, 2);
    return m;
}

/* Send @m, and wait for its reply if there is one to come before a crash. */
static void send_message(Fadump *f, Other *share, GByteArray *m, bool wait)
{
    uint8_t type = m->data[0];
    uint32_t size = cpu_to_le32(4 + m->len), head;
    uint64_t request = guest_alloc(&f->qs->alloc, 4 + m->len);
    uint64_t reply = guest_alloc(&f->qs->alloc, 8192);

    g_assert_cmphex(request + m->len, <, B);
    qtest_memwrite(f->qts, request, &size, 4);
    qtest_memwrite(f->qts, request + 4, m->data, m->len);
    head = qvirtqueue_add(f->qts, share->vq, request, 4 + m->len, false, true);
    qvirtqueue_add(f->qts, share->vq, reply, 8192, true, false);
    qvirtqueue_kick(f->qts, &share->pci->vdev, share->vq, head);
    if (wait) {
        qvirtio_wait_used_elem(f->qts, &share->pci->vdev, share->vq, head, NULL,
                               TIMEOUT_US);
        g_assert_cmpint(qtest_readb(f->qts, reply + 4), ==, type + 1);
    }
    g_byte_array_unref(m);
}

/* Open the shared directory's file, and begin to write @size times @fill. */
static void begin_write(Fadump *f, Other *share, uint8_t fill, uint32_t size)
{
    GByteArray *m = message(P9_TVERSION);

    put(m, 8192, 4);
    put_string(m, "9P2000.L");
    send_message(f, share, m, true);
    m = message(P9_TATTACH);
    put(m, 0, 4);
    put(m, P9_NOFID, 4);
    put_string(m, "");
    put_string(m, "");
    put(m, 0, 4);
    send_message(f, share, m, true);
    m = message(P9_TWALK);
    put(m, 0, 4);
    put(m, 1, 4);
    put(m, 1, 2);
    put_string(m, "file");
    send_message(f, share, m, true);
    m = message(P9_TLOPEN);
    put(m, 1, 4);
    put(m, O_RDWR, 4);
    send_message(f, share, m, true);
    m = message(P9_TWRITE);
    put(m, 1, 4);
    put(m, 0, 8);
    put(m, size, 4);
    while (size--) {
        put(m, fill, 1);
    }
    send_message(f, share, m, false);
}

/* What virtio-9p's threads have not written yet */
static void test_share(const void *opaque)
{
    enum { SIZE = 2000 };
    g_autofree char *dir = g_dir_make_tmp("fadump-test-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    g_autofree char *options = NULL, *written = NULL;
    uint8_t fill = 0xb5;
    gsize size;
    Fadump *f;
    int i, j;

    if (!qtest_has_device("virtio-9p-pci")) {
        g_test_skip("QEMU was built without virtio-9p");
        rmdir(dir);
        return;
    }
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    options = g_strdup_printf(" -fsdev local,id=s,security_model=none,path=%s "
        "-device virtio-9p-pci,fsdev=s,mount_tag=t,addr=5", dir);
    f = start_faulty(opaque, "pwritev", options);
    fill_ram(f);
    assert_register(f, OK);
    /* at a crash, and at the reset after which RAM would have its old place */
    for (i = 0; i < 2; i++, fill++) {
        Other share = start_blk(f);

        begin_write(f, &share, fill, SIZE);
        if (!i) {
            crash(f);
        } else {
            system_reset(f);
        }
        stop_other(f, &share);
        g_assert_true(g_file_get_contents(file, &written, &size, NULL));
        g_assert_cmpint(size, ==, SIZE);
        for (j = 0; j < SIZE; j++) {
            g_assert_cmphex((uint8_t)written[j], ==, fill);
        }
        g_clear_pointer(&written, g_free);
        if (!i) {
            probe(f);
            g_assert_cmpint(dump_number(f, "moved"), <, 2 * MiB);
            release(f);
        }
    }
    /* then there is nothing to wait for */
    system_reset(f);
    wait_given_back(f);
    unlink(file);
    rmdir(dir);
    stop(f);
}

void fadump_add_relocate_tests(void)
{
    qtest_add_data_func("fadump/attributes", NULL, test_attributes);
    add_test("congruent", PC_6G, test_congruent);
    qtest_add_data_func("fadump/prealloc", NULL, test_prealloc);
    add_test("restore", Q35_SWAP, test_restore);
    add_test("restore", Q35_MEMFD, test_restore);
    add_test("ring", Q35_1G, test_ring);
    add_test("ring", Q35_MEMFD, test_ring);
    add_test("writes", Q35_1G, test_writes);
    add_test("writes", Q35_MEMFD, test_writes);
    add_test("share", Q35_1G, test_share);
    add_test("share", Q35_MEMFD, test_share);
}
