/*
 * QTest cases for fadump-dev: memory that is bound to nodes of the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any host has node 0, and a policy is one whatever nodes there are. What the
 * kernel says of QEMU's mappings is all that is looked at.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

#ifdef CONFIG_NUMA
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#define BOUND_TO "host-nodes=0,policy="

/* How much of QEMU's address space has @policy, as numa_maps writes it */
static uint64_t with_policy(Fadump *f, const char *policy)
{
    g_autofree char *dir = g_strdup_printf("/proc/%d",
                                           (int)qtest_pid(f->qts));
    g_autofree char *maps_path = g_build_filename(dir, "maps", NULL);
    g_autofree char *numa_path = g_build_filename(dir, "numa_maps", NULL);
    g_autofree char *maps = NULL, *numa = NULL;
    g_auto(GStrv) lines = NULL;
    uint64_t size = 0;
    size_t i;

    g_assert_true(g_file_get_contents(maps_path, &maps, NULL, NULL));
    g_assert_true(g_file_get_contents(numa_path, &numa, NULL, NULL));
    /* each line of one is a line of the other; only this one has the end */
    lines = g_strsplit(maps, "\n", 0);
    for (i = 0; lines[i]; i++) {
        g_autofree char *line = NULL;
        const char *found;
        uint64_t from, to;

        if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            line = g_strdup_printf("%08" PRIx64 " %s", from, policy);
            found = strstr(numa, line);
            /* nothing follows where there are no pages yet */
            if (found && g_ascii_isspace(found[strlen(line)])) {
                size += to - from;
            }
        }
    }
    return size;
}

static bool can_bind(void)
{
    const size_t size = qemu_real_host_page_size();
    unsigned long nodes = 1;
    void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    long ret = syscall(SYS_mbind, page, size, MPOL_BIND, &nodes, 2, 0);

    if (ret) {
        g_autofree char *why = g_strdup_printf("mbind: %s", strerror(errno));

        g_test_skip(why);
    }
    munmap(page, size);
    return !ret;
}

static void crash_by(Fadump *f, const struct virtio_fadump_region *regions,
                     uint32_t n, const char *method)
{
    probe_features(f, ALL_FEATURES);
    fill_ram(f);
    if (n) {
        g_assert_cmpint(do_register(f, regions, n, NULL), ==,
                        VIRTIO_FADUMP_S_OK);
    } else {
        assert_register(f, OK);
    }
    trigger_panic(f);
    g_assert_cmpint(dump_number(f, method), >, B - 2 * MiB);
    probe_features(f, ALL_FEATURES);
}

/*
 * A mapping that a move makes has the policy of where the pages were. The
 * backend's memory has its own again, and other memory none: as before.
 */
static void test_bound(const void *opaque)
{
    const bool shared = opaque;
    g_autofree char *opts = g_strdup_printf(
        "-M q35,memory-backend=m -m 1G -smp 2 -object memory-backend-%s,id=m,"
        "size=1G," BOUND_TO "bind -device fadump-dev,boot-mem=128M",
        shared ? "memfd,share=on" : "ram");
    const Machine m = { "bound", opts, { { 0, 1 * GiB } }, { { 0, B } } };
    Fadump *f;
    int i;

    if (!can_bind()) {
        return;
    }
    f = start(&m, "");
    g_assert_cmphex(with_policy(f, "bind:0"), ==, GiB);
    for (i = 0; i < 2; i++) {
        crash_by(f, NULL, 0, shared ? "swapped" : "moved");
        g_assert_cmphex(with_policy(f, "bind:0"), ==, GiB);
        assert_request(f, RELEASE, OK);
        /* then a swap ends */
        system_reset(f);
        g_assert_cmphex(with_policy(f, "bind:0"), ==, GiB);
    }
    stop(f);
}

/* From RAM of one policy to RAM of another */
static void test_two_policies(void)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, B, 512 * MiB),
    };
    const Machine m = {
        "two-policies", "-M q35 -m 1G -smp 2 "
        "-object memory-backend-ram,id=m0,size=256M," BOUND_TO "bind "
        "-object memory-backend-ram,id=m1,size=768M," BOUND_TO "interleave "
        "-numa node,memdev=m0 -numa node,memdev=m1 "
        "-device fadump-dev,boot-mem=128M",
        { { 0, 1 * GiB } }, { { 0, B } },
    };
    Fadump *f;

    if (!can_bind()) {
        return;
    }
    f = start(&m, "");
    crash_by(f, in_guest, ARRAY_SIZE(in_guest), "moved");
    g_assert_cmphex(with_policy(f, "bind:0"), ==, 256 * MiB);
    g_assert_cmphex(with_policy(f, "interleave:0"), ==, 768 * MiB);
    stop(f);
}

/* Where no policy may be set there is none to be taken back. */
static void test_forbidden(void)
{
    g_autofree char *library = g_test_build_filename(G_TEST_BUILT,
                                                     "libfadump-faults.so",
                                                     NULL);
    int out = memfd_create("stderr", 0), own = dup(STDERR_FILENO);
    char said[4096] = "";
    Fadump *f;

    g_setenv("LD_PRELOAD", library, true);
    g_setenv("FADUMP_FAULTS", "mbind", true);
    dup2(out, STDERR_FILENO);
    f = start(Q35_1G, "");
    dup2(own, STDERR_FILENO);
    close(own);
    g_unsetenv("LD_PRELOAD");
    g_unsetenv("FADUMP_FAULTS");

    crash_by(f, NULL, 0, "moved");
    stop(f);
    g_assert_cmpint(pread(out, said, sizeof(said) - 1, 0), >=, 0);
    g_assert_null(strstr(said, "NUMA"));
    g_assert_null(strstr(said, "preload"));
    close(out);
}

void fadump_add_numa_tests(void)
{
    qtest_add_data_func("fadump/bound/ram", NULL, test_bound);
    qtest_add_data_func("fadump/bound/memfd", "memfd", test_bound);
    qtest_add_func("fadump/two-policies", test_two_policies);
    qtest_add_func("fadump/mbind-forbidden", test_forbidden);
}
#else
static void test_skip(void)
{
    g_test_skip("QEMU is built without libnuma");
}

void fadump_add_numa_tests(void)
{
    qtest_add_func("fadump/bound", test_skip);
}
#endif
