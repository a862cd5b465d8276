/*
 * QTest testcase for fadump-dev: how much boot memory, and who says so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

typedef struct BootMem {
    const char *opts;
    /* what a driver gets that asks for nothing, and at most */
    uint64_t granted, max;
    Span ranges[4];
} BootMem;

static void test_boot_mem(void)
{
    static const BootMem cases[] = {
        /* the default: 512 MiB, 5 % where that is more, all where it is less */
        { "-M q35 -m 1G -device fadump-dev", 512 * MiB, 512 * MiB,
          { { 0, 512 * MiB } } },
        { "-M q35 -m 12G -device fadump-dev", 640 * MiB, 3 * GiB,
          { { 0, 640 * MiB } } },
        { "-M q35 -m 256M -device fadump-dev", 256 * MiB, 256 * MiB,
          { { 0, 256 * MiB } } },
        /* each vCPU takes some, plugged in or not */
        { "-M q35 -smp 1,maxcpus=64 -m 2G -device fadump-dev", 512 * MiB,
          512 * MiB, { { 0, 512 * MiB } } },
        { "-M q35 -smp 1,maxcpus=255 -m 2G -device fadump-dev", 768 * MiB,
          768 * MiB, { { 0, 768 * MiB } } },
        /* whole memory blocks */
        { "-M pc -m 1G -device fadump-dev,boot-mem=129M", 256 * MiB,
          256 * MiB, { { 0, 256 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=134217728", 128 * MiB,
          256 * MiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=1G", 1 * GiB, 1 * GiB,
          { { 0, 1 * GiB } } },
        { "-M pc -m 64M -device fadump-dev,boot-mem=64M", 64 * MiB, 64 * MiB,
          { { 0, 64 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=128M,boot-mem-max=1000M",
          128 * MiB, 1 * GiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -device fadump-dev,boot-mem=128M,boot-mem-max=128M",
          128 * MiB, 128 * MiB, { { 0, 128 * MiB } } },
        { "-M pc -m 1G -global fadump-dev.boot-mem=256M -device fadump-dev",
          256 * MiB, 256 * MiB, { { 0, 256 * MiB } } },
        /* what is set aside at the capture is nobody's but the host's */
        { "-M pc -m 1G -device fadump-dev,boot-mem=256M,full=on", 256 * MiB,
          256 * MiB, { { 0, 256 * MiB } } },
        /* on both sides of the hole under 4 GiB */
        { "-M q35 -m 6G -device fadump-dev,boot-mem=3G", 3 * GiB, 3 * GiB,
          { { 0, 2 * GiB }, { 4 * GiB, 1 * GiB } } },
        /* what fills no block, at each end of RAM, and the last block below */
        { "-M q35 -m 2100M -global mch.extended-tseg-mbytes=16 "
          "-device fadump-dev,boot-mem=128M", 128 * MiB, 640 * MiB,
          { { 0, B }, { 2 * GiB, 52 * MiB } } },
        { "-M pc -m 5200M -device fadump-dev,boot-mem=128M", 128 * MiB,
          1408 * MiB, { { 0, B }, { 3 * GiB - B, B },
                        { 4 * GiB + 2048 * MiB, 80 * MiB } } },
        /* blocks of Linux may have 2 GiB here */
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=70G,"
          "reserve=off -m 70G -device fadump-dev,boot-mem=128M",
          2 * GiB, 18 * GiB,
          { { 0, 2 * GiB } } },
        { "-M q35,memory-backend=m -object memory-backend-ram,id=m,size=65G,"
          "reserve=off -m 65G -device fadump-dev,boot-mem=4G",
          4 * GiB, 18 * GiB,
          { { 0, 2 * GiB }, { 4 * GiB, 2 * GiB }, { 66 * GiB, 1 * GiB } } },
    };
    size_t i;
    uint32_t j;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        const Machine m = { cases[i].opts, cases[i].opts };
        g_autofree struct virtio_fadump_boot_mem *mem = NULL;
        Fadump *f;

        g_test_message("%s", cases[i].opts);
        f = start_and_probe(&m, "");
        g_assert_cmphex(CONFIG_Q(f, boot_mem_max), ==, cases[i].max);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==,
                        total_size(cases[i].ranges));
        mem = ask_boot_mem(f, 0);
        g_assert_cmphex(mem->size, ==, cases[i].granted);
        for (j = 0; j < mem->nr_ranges; j++) {
            g_assert_cmphex(mem->ranges[j].addr, ==, cases[i].ranges[j].base);
            g_assert_cmphex(mem->ranges[j].len, ==, cases[i].ranges[j].size);
        }
        g_assert_cmphex(cases[i].ranges[j].size, ==, 0);
        assert_register(f, OK);
        stop(f);
    }
}

/* Whatever is asked for, what is granted can be registered, and no more. */
static void test_ask(const void *opaque)
{
    const uint64_t block = 128 * MiB;
    const uint64_t sizes[] = {
        1, 4096, block - 1, block, block + 1, 2 * block, 256 * MiB + 1,
        5 * block, GiB - 1, GiB, UINT64_MAX, UINT64_MAX - block, 1ull << 63,
    };
    Fadump *f = start_and_probe(opaque, ",boot-mem-max=640M");
    const uint64_t max = CONFIG_Q(f, boot_mem_max);
    uint64_t tails = CONFIG_Q(f, boot_mem) - B, detail;
    uint32_t status, n;
    size_t i;

    g_assert_cmphex(max, ==, 640 * MiB);
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree struct virtio_fadump_boot_mem *mem = NULL, *again = NULL;
        uint64_t sum = 0, end = 0;
        uint32_t j;

        mem = ask_boot_mem(f, sizes[i]);
        again = ask_boot_mem(f, mem->size);
        g_assert_cmphex(mem->size, ==, sizes[i] > max ? max :
                                       ROUND_UP(sizes[i], block));
        g_assert_cmpmem(mem, sizeof(*mem), again, sizeof(*again));
        for (j = 0; j < mem->nr_ranges; j++) {
            const struct virtio_fadump_extent *r = &mem->ranges[j];

            g_assert_cmphex(r->addr % VIRTIO_FADUMP_ALIGN, ==, 0);
            g_assert_cmphex(r->len % VIRTIO_FADUMP_PAGE_SIZE, ==, 0);
            g_assert_true(!j || r->addr > end);
            end = r->addr + r->len;
            sum += r->len;
        }
        g_assert_cmphex(sum, ==, mem->size + tails);
        f->ask = sizes[i];
        assert_register(f, OK);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, sum);
        /* in any state */
        g_free(ask_boot_mem(f, 0));
        assert_request(f, UNREGISTER, OK);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, B + tails);
    }

    /* room for the answer: none, too little, in parts, more than enough */
    f->ask = 0;
    for (n = 0; f->m->boot[n].size; n++) {
        g_free(get_boot_mem(f, 0, n, 0, &status, &detail));
        g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_NO_SPACE);
    }
    g_assert_cmpint(detail, ==, sizeof(struct virtio_fadump_boot_mem) +
                                n * sizeof(struct virtio_fadump_extent));
    g_free(get_boot_mem(f, 0, n, 0, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    g_free(get_boot_mem(f, 0, n, 9, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    g_free(get_boot_mem(f, 0, n + 100, 0, &status, &detail));
    g_assert_cmpint(status, ==, VIRTIO_FADUMP_S_OK);
    assert_unharmed(f);
    stop(f);
}

/* Crash after crash, each with another size, over a migration too. */
static void test_ask_capture(const void *opaque)
{
    static const uint64_t sizes[] = {
        512 * MiB, 128 * MiB, 384 * MiB, 384 * MiB, 256 * MiB, 640 * MiB,
    };
    Machine m = *(const Machine *)opaque;
    g_autofree char *opts = g_strdup_printf("%s,boot-mem-max=640M", m.opts);
    Fadump *f, *dst;
    size_t i;

    m.opts = opts;
    f = start_and_probe(&m, "");
    for (i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_build_filename(f->dir, "stream", NULL);
        g_autofree char *path2 = NULL;
        g_autoptr(GByteArray) desc = NULL, again = NULL;
        g_autoptr(GArray) pieces = NULL, same = NULL;

        m.boot[0].size = f->ask = sizes[i];
        fill_ram(f);
        assert_register(f, OK);
        if (i % 2 == 0) {
            save_to(f, path);
            dst = load_from(&m, path, f, "completed");
            stop(f);
            f = dst;
        }
        assert_state(f, REGISTERED);
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, total_size(m.boot));
        trigger_panic(f);
        check_confinement(f, true);
        probe(f);
        /* nothing is registered: what a driver would get */
        g_assert_cmphex(CONFIG_Q(f, boot_mem), ==, total_size(m.boot) -
                                                   sizes[i] + B);
        desc = read_descriptor(f);
        pieces = check_descriptor(f, desc, VIRTIO_FADUMP_CAUSE_PANIC);
        check_ram(f, pieces);

        if (i % 3 == 1) {
            path2 = g_build_filename(f->dir, "stream", NULL);
            save_to(f, path2);
            dst = load_from(&m, path2, f, "completed");
            stop(f);
            f = dst;
        }
        assert_window(f, true);
        check_confinement(f, true);
        again = read_descriptor(f);
        g_assert_cmpmem(again->data, again->len, desc->data, desc->len);
        same = check_descriptor(f, again, VIRTIO_FADUMP_CAUSE_PANIC);
        check_ram(f, same);
        probe(f);
        assert_request(f, RELEASE, OK);
        check_released(f);
        system_reset(f);
        probe(f);
    }
    stop(f);
}

void fadump_add_bootmem_tests(void)
{
    add_test("ask", PC_1G, test_ask);
    add_test("ask", PC_3G, test_ask);
    add_test("ask", Q35_3G, test_ask);
    add_test("ask-capture", PC_2000M, test_ask_capture);
    add_test("ask-capture", Q35_1G, test_ask_capture);
    add_test("ask-capture", Q35_SWAP, test_ask_capture);
    add_test("ask-capture", Q35_MEMFD, test_ask_capture);
    add_test("ask-capture", Q35_BAR_SWAP, test_ask_capture);
    qtest_add_func("fadump/boot-mem", test_boot_mem);
}
