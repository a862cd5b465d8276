/*
 * QTest cases for fadump-dev: SMRAM through a crash, a release and a reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is firmware that keeps a secret in SMRAM, and then the guest that
 * wants it.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* the host bridge's registers; those of 16 bits have the low byte first */
#define REG_EXT_TSEG 0x50
#define REG_PC_SMRAM 0x72
#define REG_F_SMBASE 0x9c
#define REG_SMRAM 0x9d
#define REG_ESMRAMC 0x9e

#define D_OPEN (1 << 6)
#define D_LCK (1 << 4)
#define G_SMRAME (1 << 3)
#define C_BASE_SEG 2
#define H_SMRAME (1 << 7)
#define TSEG_EXT (3 << 1)
#define TSEG_8M (2 << 1)
#define T_EN (1 << 0)

#define SMBASE 0x30000
#define SMBASE_SIZE (128 * KiB)
#define COMPAT_SIZE (128 * KiB)
#define HIGH_SMRAM 0xfeda0000

/* The RAM of these machines. Without VGA nothing hides what is behind it. */
#define RAM (512 * MiB)
#define MACHINE(name, type, opts, method) \
    { name, "-M " type " -m 512M -smp 2 -device VGA -device fadump-dev," \
      "boot-mem=128M,full-room=off" opts, { { 0, RAM } }, { { 0, B } }, \
      false, method }

static const Machine smm_machines[] = {
    MACHINE("q35/512M", "q35", "", 0),
    MACHINE("q35/512M-memfd", "q35,memory-backend=m -object "
            "memory-backend-memfd,id=m,size=512M,share=on", "",
            VIRTIO_FADUMP_METHOD_SWAPPED),
    MACHINE("q35/512M-swap", "q35", ",x-move=off",
            VIRTIO_FADUMP_METHOD_SWAPPED),
    MACHINE("q35/512M-copy", "q35", ",x-move=off,x-swap=off",
            VIRTIO_FADUMP_METHOD_COPIED),
};

static const Machine pc_512m = MACHINE("pc/512M", "pc", "", 0);

#define Q35_512M (&smm_machines[0])
#define Q35_512M_MEMFD (&smm_machines[1])

/* ------------------------------------------------------------------ */
/* Firmware                                                           */

static QPCIDevice *host_bridge(Fadump *f)
{
    QPCIDevice *dev = qpci_device_find(f->qs->pcibus, QPCI_DEVFN(0, 0));

    g_assert_nonnull(dev);
    return dev;
}

static uint8_t read_reg(Fadump *f, uint8_t reg)
{
    g_autofree QPCIDevice *dev = host_bridge(f);

    return qpci_config_readb(dev, reg);
}

static void write_reg(Fadump *f, uint8_t reg, uint8_t val)
{
    g_autofree QPCIDevice *dev = host_bridge(f);

    qpci_config_writeb(dev, reg, val);
}

/* Bytes of the extended TSEG, as firmware asks for them */
static uint64_t tseg_size(Fadump *f)
{
    g_autofree QPCIDevice *dev = host_bridge(f);
    uint16_t mbytes;

    qpci_config_writew(dev, REG_EXT_TSEG, 0xffff);
    mbytes = qpci_config_readw(dev, REG_EXT_TSEG);
    g_assert_cmpint(mbytes, !=, 0xffff);
    return mbytes * MiB;
}

/* What a page of a boot's SMRAM begins with, and nothing else has */
static void make_secret(char secret[32], const char *boot)
{
    memset(secret, 0, 32);
    g_snprintf(secret, 32, "%s boot's SMM secret", boot);
}

static void put_secret(Fadump *f, const char *boot, uint64_t addr,
                       uint64_t size)
{
    char secret[32];
    uint64_t at;

    make_secret(secret, boot);
    for (at = 0; at < size; at += 509 * 4096) {
        qtest_memwrite(f->qts, addr + at, secret, sizeof(secret));
    }
    qtest_memwrite(f->qts, addr + size - 4096, secret, sizeof(secret));
}

static bool has_secret(Fadump *f, const char *boot, uint64_t addr)
{
    char secret[32], got[32];

    make_secret(secret, boot);
    qtest_memread(f->qts, addr, got, sizeof(got));
    return !memcmp(secret, got, sizeof(got));
}

static void assert_hidden(Fadump *f, uint64_t addr, uint64_t size)
{
    uint64_t at;

    for (at = addr; at < addr + size; at += 1021 * 1024) {
        g_assert_cmphex(qtest_readl(f->qts, at), ==, 0xffffffff);
    }
    g_assert_cmphex(qtest_readl(f->qts, addr + size - 4), ==, 0xffffffff);
    /* nor can it be written */
    qtest_writel(f->qts, addr, 0x12345678);
    qtest_writel(f->qts, addr + size - 4, 0x12345678);
    g_assert_cmphex(qtest_readl(f->qts, addr), ==, 0xffffffff);
}

static void assert_ram(Fadump *f, uint64_t addr)
{
    uint32_t old = qtest_readl(f->qts, addr);

    qtest_writel(f->qts, addr, 0x12345678);
    g_assert_cmphex(qtest_readl(f->qts, addr), ==, 0x12345678);
    qtest_writel(f->qts, addr, old);
}

/* Whatever a guest's kernel tries on firmware that has locked SMRAM */
static void attack(Fadump *f, const char *boot, uint64_t end, uint64_t size)
{
    static const uint8_t values[] = {
        0, 0xff, D_OPEN, D_OPEN | G_SMRAME, C_BASE_SEG, H_SMRAME, T_EN
    };
    static const uint8_t regs[] = {
        REG_SMRAM, REG_ESMRAMC, REG_F_SMBASE, REG_EXT_TSEG, REG_EXT_TSEG + 1
    };
    size_t i, j;

    for (i = 0; i < ARRAY_SIZE(regs); i++) {
        for (j = 0; j < ARRAY_SIZE(values); j++) {
            write_reg(f, regs[i], values[j]);
            assert_hidden(f, end - size, size);
            assert_hidden(f, SMBASE, SMBASE_SIZE);
        }
    }
    g_assert_cmphex(read_reg(f, REG_SMRAM) & (D_OPEN | D_LCK), ==, D_LCK);
    g_assert_cmphex(read_reg(f, REG_ESMRAMC) & T_EN, ==, T_EN);
    g_assert_false(has_secret(f, boot, VGA_START));
    g_assert_false(has_secret(f, boot, HIGH_SMRAM));
    assert_ram(f, end - size - 4);
    if (end < RAM) {
        assert_ram(f, end);
    }
}

/*
 * Firmware has @size bytes of TSEG at @end, which it takes for the end of low
 * RAM, and writes to all SMRAM while it is open: to TSEG before it is enabled.
 */
static void open_smram(Fadump *f, const char *boot, uint64_t end, uint64_t size)
{
    write_reg(f, REG_ESMRAMC, TSEG_EXT);
    write_reg(f, REG_SMRAM, D_OPEN | G_SMRAME | C_BASE_SEG);
    put_secret(f, boot, end - size, size);
    put_secret(f, boot, VGA_START, COMPAT_SIZE);
    write_reg(f, REG_F_SMBASE, 0xff);
    g_assert_cmphex(read_reg(f, REG_F_SMBASE), ==, 1);
    put_secret(f, boot, SMBASE, SMBASE_SIZE);
}

static void lock_smram(Fadump *f)
{
    write_reg(f, REG_F_SMBASE, 2);
    write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
    write_reg(f, REG_SMRAM, D_LCK | G_SMRAME | C_BASE_SEG);
}

/* What SMM will see as TSEG is what firmware has written to, TSEG open. */
static bool check_view(Fadump *f)
{
    g_autofree char *tree = qtest_hmp(f->qts, "info mtree -f");
    const char *as = strstr(tree, "AS \"tseg-ram\""), *end;
    const char *mem = strstr(tree, "AS \"memory\"");
    g_autofree char *tseg = NULL, *memory = NULL;
    bool swapped;

    g_assert_nonnull(as);
    g_assert_nonnull(mem);
    end = strstr(as, "FlatView #");
    tseg = end ? g_strndup(as, end - as) : g_strdup(as);
    end = strstr(mem, "FlatView #");
    memory = end ? g_strndup(mem, end - mem) : g_strdup(mem);
    swapped = strstr(tseg, "): fadump-dump");
    g_assert_true(!strstr(memory, "): fadump-dump") == !swapped);
    return swapped;
}

static void run_firmware(Fadump *f, const char *boot, uint64_t end,
                         uint64_t size)
{
    open_smram(f, boot, end, size);
    check_view(f);
    lock_smram(f);
    attack(f, boot, end, size);
}

/* ------------------------------------------------------------------ */
/* The guest, and its host, look for it                               */

static bool file_has(const char *path, const char *boot)
{
    GMappedFile *map = g_mapped_file_new(path, false, NULL);
    char secret[32];
    bool found;

    g_assert_nonnull(map);
    make_secret(secret, boot);
    /* not the zeros at its end: in zeros they make memmem() ten times slower */
    found = memmem(g_mapped_file_get_contents(map),
                   g_mapped_file_get_length(map), secret, strlen(secret));
    g_mapped_file_unref(map);
    return found;
}

static bool memory_has(Fadump *f, const char *boot, uint64_t addr,
                       uint64_t size)
{
    /* no file: half a GiB would be written to a disk each time */
    int fd = memfd_create("memory", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", getpid(), fd);
    bool found;

    g_assert_cmpint(fd, >=, 0);
    save_memory(f, addr, size, path);
    found = file_has(path, boot);
    close(fd);
    return found;
}

/* In all RAM but what lies at the same place in every boot */
static bool ram_has(Fadump *f, const char *boot)
{
    return memory_has(f, boot, MiB, RAM - MiB);
}

static bool window_has(Fadump *f, const char *boot)
{
    return memory_has(f, boot, f->window, f->window_len);
}

static bool core_has(Fadump *f, const char *boot)
{
    int core = save_core(f);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", core);
    bool found = file_has(path, boot);

    close(core);
    return found;
}

static void assert_not_in_dump(Fadump *f, const char *boot)
{
    g_assert_false(window_has(f, boot));
    g_assert_false(core_has(f, boot));
}

/* Nothing of @span is in the dump but as a range that is firmware's. */
static void check_left_out(const GByteArray *desc, uint64_t addr, uint64_t size,
                           uint64_t firmware)
{
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_range *r = (const void *)
        (desc->data + le64_to_cpu(h->ranges_off));
    uint64_t found = 0;
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        uint64_t base = le64_to_cpu(r[i].addr), len = le64_to_cpu(r[i].len);

        if (base + len <= addr || base >= addr + size) {
            continue;
        }
        g_assert_cmphex(le32_to_cpu(r[i].flags), ==,
                        VIRTIO_FADUMP_RANGE_F_FIRMWARE);
        g_assert_cmpint(le32_to_cpu(r[i].where), ==,
                        VIRTIO_FADUMP_WHERE_IN_PLACE);
        g_assert_cmpint(r[i].held, ==, 0);
        g_assert_cmphex(base, >=, addr);
        g_assert_cmphex(base + len, <=, addr + size);
        found += len;
    }
    g_assert_cmphex(found, ==, firmware);
}

/* A page of the crashed RAM, of fill_ram() */
static void check_page(Fadump *f, const GByteArray *desc, uint64_t addr)
{
    const struct virtio_fadump_desc *h = (const void *)desc->data;
    const struct virtio_fadump_range *r = (const void *)
        (desc->data + le64_to_cpu(h->ranges_off));
    uint8_t want[4096], got[4096];
    uint32_t i;

    for (i = 0; i < le32_to_cpu(h->nr_ranges); i++) {
        uint64_t off = addr - le64_to_cpu(r[i].addr);

        if (off < le64_to_cpu(r[i].held)) {
            make_pattern(want, addr);
            qtest_bufread(f->qts, le32_to_cpu(r[i].where) ==
                                  VIRTIO_FADUMP_WHERE_WINDOW ?
                                  f->window + le64_to_cpu(r[i].dest) + off :
                                  addr, got, sizeof(got));
            g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
            return;
        }
    }
    g_assert_not_reached();
}

static void put_page(Fadump *f, uint64_t addr)
{
    uint8_t page[4096];

    make_pattern(page, addr);
    qtest_bufwrite(f->qts, addr, page, sizeof(page));
}

/* ------------------------------------------------------------------ */

/* A crash, its release, another crash, its release, a reset */
static void test_rounds(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    uint64_t size = tseg_size(f);
    GByteArray *desc;

    run_firmware(f, "first", RAM, size);
    /* where the next boot's firmware will have TSEG, a guest prepares it */
    put_secret(f, "crashed", B - size, size);
    put_page(f, 20 * MiB);
    put_page(f, 300 * MiB);
    put_page(f, RAM - size - 4096);
    assert_register(f, OK);
    crash(f);

    /* before firmware runs: the chipset is as after any reset */
    check_confinement(f, true);
    g_assert_cmphex(read_reg(f, REG_SMRAM), ==, C_BASE_SEG);
    g_assert_cmphex(read_reg(f, REG_ESMRAMC) & T_EN, ==, 0);
    g_assert_false(ram_has(f, "first"));
    assert_zero(f, RAM - size, size);
    assert_zero(f, B - size, size);

    g_assert_cmpint(tseg_size(f), ==, size);
    g_assert_true(check_view(f) ==
                  (f->m->method == VIRTIO_FADUMP_METHOD_SWAPPED));
    run_firmware(f, "second", B, size);
    probe_features(f, ALL_FEATURES);
    assert_state(f, DUMP_AVAILABLE);
    desc = read_descriptor(f);
    check_left_out(desc, RAM - size, size, size);
    check_left_out(desc, VGA_START, COMPAT_SIZE, 0);
    check_left_out(desc, SMBASE, SMBASE_SIZE, 0);
    check_page(f, desc, 20 * MiB);
    check_page(f, desc, 300 * MiB);
    check_page(f, desc, RAM - size - 4096);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "first");
    assert_not_in_dump(f, "second");
    /* and what the crashed kernel had at that place is */
    g_assert_true(core_has(f, "crashed"));
    attack(f, "second", B, size);

    /* all of it is the guest's but for what firmware has now */
    release(f);
    attack(f, "second", B, size);
    g_assert_false(ram_has(f, "first"));
    g_assert_false(ram_has(f, "second"));
    assert_ram(f, RAM - 4);

    put_page(f, RAM - 4096);
    assert_register(f, OK);
    crash(f);
    check_confinement(f, true);
    /* as on any machine firmware finds what it had, unless RAM has moved */
    g_assert_true(has_secret(f, "second", B - size) ==
                  (f->m->method != VIRTIO_FADUMP_METHOD_SWAPPED));
    run_firmware(f, "third", B, size);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, B - size, size, 0);
    check_page(f, desc, RAM - 4096);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "second");
    assert_not_in_dump(f, "third");
    attack(f, "third", B, size);
    release(f);

    /* all is where it was */
    put_secret(f, "prepared", RAM - size, size);
    guest_reset(f);
    check_confinement(f, false);
    g_assert_false(ram_has(f, "third"));
    assert_zero(f, B - size, size);
    assert_zero(f, RAM - size, size);
    run_firmware(f, "fourth", RAM, size);
    g_assert_false(ram_has(f, "fourth"));
    probe_features(f, ALL_FEATURES);
    assert_unharmed(f);
    stop(f);
}

/* With boot memory of another size TSEG of the last boot is preserved. */
static void test_other_size(const void *opaque)
{
    Fadump *f = start(opaque, ",boot-mem-max=384M");
    uint64_t size = tseg_size(f);
    GByteArray *desc;

    f->ask = 2 * B;
    run_firmware(f, "first", RAM, size);
    probe_features(f, ALL_FEATURES);
    assert_register(f, OK);
    crash(f);
    run_firmware(f, "second", 2 * B, size);
    probe_features(f, ALL_FEATURES);
    release(f);

    f->ask = B;
    assert_register(f, OK);
    crash(f);
    g_assert_false(ram_has(f, "second"));
    run_firmware(f, "third", B, size);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, 2 * B - size, size, size);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "second");
    release(f);

    f->ask = 3 * B;
    assert_register(f, OK);
    crash(f);
    g_assert_false(ram_has(f, "third"));
    run_firmware(f, "fourth", 3 * B, size);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, B - size, size, 0);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "third");
    release(f);
    stop(f);
}

/*
 * Nothing is locked yet: firmware has had TSEG enabled, and has opened it again
 * to fill it. An operator's trigger captures that, too.
 */
static void test_open(const void *opaque)
{
    Fadump *f = start(opaque, "");
    uint64_t size = tseg_size(f);
    GByteArray *desc;

    write_reg(f, REG_SMRAM, G_SMRAME | C_BASE_SEG);
    write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
    open_smram(f, "first", RAM, size);
    g_assert_true(has_secret(f, "first", RAM - size));
    g_assert_true(has_secret(f, "first", VGA_START));
    qmp_trigger(f);
    wait_count(f, &f->captured, 1, "operator");
    g_assert_false(ram_has(f, "first"));
    run_firmware(f, "second", B, size);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, RAM - size, size, size);
    check_left_out(desc, VGA_START, COMPAT_SIZE, 0);
    check_left_out(desc, SMBASE, SMBASE_SIZE, 0);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "first");
    stop(f);

    /* the same memory at another address */
    f = start(opaque, "");
    write_reg(f, REG_ESMRAMC, H_SMRAME);
    write_reg(f, REG_SMRAM, D_OPEN | G_SMRAME | C_BASE_SEG);
    put_secret(f, "first", HIGH_SMRAM, COMPAT_SIZE);
    g_assert_true(has_secret(f, "first", HIGH_SMRAM));
    qmp_trigger(f);
    wait_count(f, &f->captured, 1, "operator");
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, HIGH_SMRAM, COMPAT_SIZE, 0);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "first");
    stop(f);
}

/* TSEG stays where it is if all RAM is set aside. */
static void test_full(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ",full-room=on,full=on");
    uint64_t size = tseg_size(f);
    GByteArray *desc;

    run_firmware(f, "first", RAM, size);
    put_page(f, 300 * MiB);
    assert_register(f, OK);
    crash(f);
    check_confinement(f, false);
    run_firmware(f, "second", RAM, size);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, RAM - size, size, 0);
    check_page(f, desc, 300 * MiB);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "first");
    assert_not_in_dump(f, "second");
    release(f);
    guest_reset(f);
    run_firmware(f, "third", RAM, size);
    g_assert_false(ram_has(f, "second"));
    stop(f);
}

/* ------------------------------------------------------------------ */
/* What firmware is told changes at a reset and not before            */

static void wait_status(Fadump *f, const char *status)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    for (;;) {
        QDict *info = qtest_qmp_assert_success_ref(f->qts, "{ 'execute': "
                                                   "'query-status' }");
        bool reached = g_str_equal(qdict_get_str(info, "status"), status);

        qobject_unref(info);
        if (reached) {
            return;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void suspend_and_wake(Fadump *f)
{
    const uint16_t pm_base = 0x600, sleep_enable = 1 << 13, s3 = 1 << 10;
    QPCIDevice *lpc = qpci_device_find(f->qs->pcibus, QPCI_DEVFN(31, 0));

    g_assert_nonnull(lpc);
    qpci_config_writel(lpc, 0x40, pm_base | 1);
    qpci_config_writeb(lpc, 0x44, 0x80);
    g_free(lpc);
    qtest_outw(f->qts, pm_base + 4, s3 | sleep_enable);
    wait_status(f, "suspended");
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'system_wakeup' }");
    wait_status(f, "running");
}

/*
 * Firmware that wakes up goes to the SMRAM that it had: at the end of RAM there
 * would be what the guest has put there.
 */
static void test_wakeup(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    uint64_t size = tseg_size(f);

    run_firmware(f, "first", RAM, size);
    assert_register(f, OK);
    crash(f);
    run_firmware(f, "second", B, size);
    probe_features(f, ALL_FEATURES);
    release(f);
    suspend_and_wake(f);
    check_confinement(f, true);
    g_assert_true(has_secret(f, "second", B - size));
    lock_smram(f);
    attack(f, "second", B, size);
    system_reset(f);
    check_confinement(f, false);
    g_assert_false(ram_has(f, "second"));
    run_firmware(f, "third", RAM, size);
    stop(f);
}

static void test_migrate(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *held = g_build_filename(f->dir, "held", NULL);
    g_autofree char *released = g_build_filename(f->dir, "released", NULL);
    uint64_t size = tseg_size(f);

    run_firmware(f, "first", RAM, size);
    assert_register(f, OK);
    crash(f);
    run_firmware(f, "second", B, size);
    probe_features(f, ALL_FEATURES);
    save_to(f, held);

    dst = load_from(f->m, held, f, "completed");
    attack(dst, "second", B, size);
    check_confinement(dst, true);
    assert_not_in_dump(dst, "first");
    assert_not_in_dump(dst, "second");
    qtest_qmp_assert_success(dst->qts, "{ 'execute': 'fadump-release' }");
    save_to(dst, released);
    stop(dst);

    /* no dump is held, and firmware still has been told of boot memory */
    dst = load_from(f->m, released, f, "completed");
    attack(dst, "second", B, size);
    check_confinement(dst, true);
    system_reset(dst);
    check_confinement(dst, false);
    g_assert_false(ram_has(dst, "second"));
    run_firmware(dst, "third", RAM, size);
    stop(dst);
    stop(f);
}

/* What only the chipset remembers goes along. */
static void test_migrate_open(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(f->dir, "open", NULL);
    uint64_t size = tseg_size(f);

    write_reg(f, REG_SMRAM, G_SMRAME | C_BASE_SEG);
    write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
    open_smram(f, "first", RAM, size);
    save_to(f, path);
    dst = load_from(f->m, path, f, "completed");
    qmp_trigger(dst);
    wait_count(dst, &dst->captured, 1, "operator");
    g_assert_false(ram_has(dst, "first"));
    probe_features(dst, ALL_FEATURES);
    assert_not_in_dump(dst, "first");
    stop(dst);
    stop(f);
}

/* A stream that says what cannot be */
static void test_migrate_hostile(const void *opaque)
{
    static const uint64_t told[] = {
        0, 1, B + 4096, 2 * B, RAM, UINT64_MAX
    };
    /* as a subsection begins, and its description at the end does not */
    const char name[] = "\x05\x19virtio-fadump-device/told";
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(f->dir, "held", NULL);
    size_t i;

    assert_register(f, OK);
    crash(f);
    probe_features(f, ALL_FEATURES);
    save_to(f, path);
    for (i = 0; i < ARRAY_SIZE(told); i++) {
        g_autofree char *buf = NULL;
        uint8_t *found;
        gsize len;

        g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
        found = find_bytes(buf, len, name, strlen(name));
        /* the version, and then the value */
        found += strlen(name) + 4;
        g_assert_true(i || ldq_be_p(found) == B);
        stq_be_p(found, told[i]);
        g_assert_true(g_file_set_contents(path, buf, len, NULL));
        dst = load_from(f->m, path, f, "failed");
        stop(dst);
    }
    stop(f);
}

static void test_snapshot(const void *opaque)
{
    g_autofree char *image = NULL;
    g_autofree char *disk = snapshot_disk(&image);
    Fadump *f;
    uint64_t size;

    if (!disk) {
        return;
    }
    f = start_and_probe(opaque, disk);
    size = tseg_size(f);
    run_firmware(f, "first", RAM, size);
    assert_register(f, OK);
    assert_hmp(f, "savevm whole");
    crash(f);
    run_firmware(f, "second", B, size);
    assert_hmp(f, "savevm confined");
    assert_hmp(f, "loadvm whole");
    check_confinement(f, false);
    attack(f, "first", RAM, size);
    assert_hmp(f, "loadvm confined");
    check_confinement(f, true);
    attack(f, "second", B, size);
    probe_features(f, ALL_FEATURES);
    assert_not_in_dump(f, "first");
    release(f);
    system_reset(f);
    g_assert_false(ram_has(f, "second"));
    stop(f);
    unlink(image);
}

/* ------------------------------------------------------------------ */
/* Which RAM is boot memory                                           */

static void test_sizes(void)
{
#define Q35(mem, more) "-M q35 -m " mem " -smp 2 " more "-device fadump-dev"
#define TSEG(mbytes) "-global mch.extended-tseg-mbytes=" mbytes " "
    static const struct {
        const char *opts;
        uint64_t tseg;
        /* boot memory of a driver that wants one byte */
        struct virtio_fadump_extent boot[2];
    } cases[] = {
        { Q35("1G", TSEG("1")), 1 * MiB, { { 0, B } } },
        { Q35("1G", TSEG("64")), 64 * MiB, { { 0, B } } },
        { Q35("1G", TSEG("65")), 65 * MiB, { { 0, 2 * B } } },
        { Q35("1G", TSEG("200")), 200 * MiB, { { 0, 3 * B } } },
        { "-M q35,smm=off -m 1G -smp 2 " TSEG("200") "-device fadump-dev", 0,
          { { 0, B } } },
        /* the end of RAM, which cannot be hot-added, has no room for it */
        { Q35("2064M", TSEG("16")), 16 * MiB,
          { { 0, B }, { 2 * GiB, 16 * MiB } } },
        { Q35("2060M", TSEG("16")), 16 * MiB,
          { { 0, B }, { 2 * GiB - B, B + 12 * MiB } } },
        { Q35("2050M", TSEG("200")), 200 * MiB,
          { { 0, 3 * B }, { 2 * GiB - 2 * B, 2 * B + 2 * MiB } } },
    };
    size_t i, n;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree struct virtio_fadump_boot_mem *mem = NULL;
        Machine m = { "sizes", cases[i].opts };
        uint64_t end = 0, block = B;
        Fadump *f;

        g_test_message("%s", m.opts);
        f = start_and_probe(&m, "");
        mem = ask_boot_mem(f, 1);
        for (n = 0; n < ARRAY_SIZE(cases[i].boot) && cases[i].boot[n].len;
             n++) {
            g_assert_cmpint(n, <, le32_to_cpu(mem->nr_ranges));
            g_assert_cmphex(le64_to_cpu(mem->ranges[n].addr), ==,
                            cases[i].boot[n].addr);
            g_assert_cmphex(le64_to_cpu(mem->ranges[n].len), ==,
                            cases[i].boot[n].len);
            end = cases[i].boot[n].addr + cases[i].boot[n].len;
        }
        g_assert_cmpint(n, ==, le32_to_cpu(mem->nr_ranges));

        /* firmware that sees this much RAM has TSEG at its end */
        f->ask = block;
        assert_register(f, OK);
        crash(f);
        if (cases[i].tseg) {
            g_assert_cmpint(tseg_size(f), ==, cases[i].tseg);
            write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
            write_reg(f, REG_SMRAM, D_LCK | G_SMRAME | C_BASE_SEG);
            assert_hidden(f, end - cases[i].tseg, cases[i].tseg);
            assert_ram(f, end - cases[i].tseg - 4);
        } else {
            write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
            write_reg(f, REG_SMRAM, D_LCK | G_SMRAME | C_BASE_SEG);
            assert_ram(f, end - 4);
        }
        stop(f);
    }
}

/* A TSEG larger than RAM keeps a guest from nothing but its own memory. */
static void test_too_large(void)
{
    const Machine m = {
        "too-large", "-M q35 -m 256M -smp 2 "
                     "-global mch.extended-tseg-mbytes=4095 "
                     "-device fadump-dev,full=on",
    };
    Fadump *f = start_and_probe(&m, "");

    write_reg(f, REG_ESMRAMC, TSEG_EXT | T_EN);
    write_reg(f, REG_SMRAM, G_SMRAME | C_BASE_SEG);
    write_reg(f, REG_ESMRAMC, TSEG_8M | T_EN);
    qmp_trigger(f);
    wait_reset(f, 0);
    system_reset(f);
    stop(f);
}

/* The other chipset has SMRAM behind VGA memory only. */
static void test_pc(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    GByteArray *desc;

    write_reg(f, REG_PC_SMRAM, D_OPEN | G_SMRAME | C_BASE_SEG);
    put_secret(f, "first", VGA_START, COMPAT_SIZE);
    g_assert_true(has_secret(f, "first", VGA_START));
    assert_register(f, OK);
    crash(f);
    probe_features(f, ALL_FEATURES);
    desc = read_descriptor(f);
    check_left_out(desc, VGA_START, COMPAT_SIZE, 0);
    g_byte_array_unref(desc);
    assert_not_in_dump(f, "first");
    release(f);
    stop(f);
}

void fadump_add_smm_tests(void)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(smm_machines); i++) {
        const Machine *m = &smm_machines[i];
        /* each takes up to half a minute, so all of them with -m slow only */
        bool all = i == 0 || g_test_slow();

        if (all || m->method == VIRTIO_FADUMP_METHOD_SWAPPED) {
            add_test("smm-rounds", m, test_rounds);
        }
        if (all) {
            add_test("smm-other-size", m, test_other_size);
            add_test("smm-full", m, test_full);
        }
    }
    add_test("smm-open", Q35_512M, test_open);
    if (g_test_slow()) {
        add_test("smm-open", Q35_512M_MEMFD, test_open);
        add_test("smm-migrate", Q35_512M_MEMFD, test_migrate);
    }
    add_test("smm-wakeup", Q35_512M, test_wakeup);
    add_test("smm-migrate", Q35_512M, test_migrate);
    add_test("smm-migrate-open", Q35_512M, test_migrate_open);
    add_test("smm-migrate-hostile", Q35_512M, test_migrate_hostile);
    add_test("smm-snapshot", Q35_512M, test_snapshot);
    qtest_add_func("fadump/smm-sizes", test_sizes);
    qtest_add_func("fadump/smm-too-large", test_too_large);
    add_test("smm-pc", &pc_512m, test_pc);
}
