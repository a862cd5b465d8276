/*
 * QTest cases for fadump-dev: memory that is plugged while the machine runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest's ACPI sees of it: hw/acpi/memory_hotplug.c, at the ports that
 * docs/specs/acpi_mem_hotplug.rst names.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"
#include "standard-headers/linux/virtio_balloon.h"
#include "standard-headers/linux/virtio_mem.h"

#define SLOT_SELECT 0xa00
#define SLOT_ADDR 0xa00
#define SLOT_SIZE 0xa08
#define SLOT_NODE 0xa10
#define SLOT_FLAGS 0xa14
#define ENABLED 1
#define INSERTING 2
#define REMOVING 4
#define EJECT 8

/* GPE 3 of the PIIX4 is memory hotplug's. */
#define PIIX4_GPE0_STS 0xafe0
#define GPE_MEMORY (1 << 3)

#define NUMA "-smp 2 " \
    "-object memory-backend-ram,id=m0,size=64M " \
    "-object memory-backend-ram,id=m1,size=960M " \
    "-numa node,memdev=m0 -numa node,memdev=m1 "
#define DIMM0 "-object memory-backend-ram,id=d0,size=512M " \
    "-device pc-dimm,id=dimm0,memdev=d0,node=1 "
/* for plug() */
#define MORE "-object memory-backend-ram,id=d1,size=256M " \
    "-object memory-backend-ram,id=d2,size=128M "

#define RAM_1G .ram = { { 0, 1 * GiB } }, .boot = { { 0, B } }, .numa = true
#define DIMMS { { 4 * GiB, 512 * MiB }, { 4 * GiB + 512 * MiB, 256 * MiB } }

static const Machine dimms[] = {
    {
        "pc", "-M pc -m 1G,slots=4,maxmem=4G " NUMA DIMM0 MORE
              "-device fadump-dev,boot-mem=128M", RAM_1G, .dimm = DIMMS,
    }, {
        "q35", "-M q35 -m 1G,slots=4,maxmem=4G " NUMA DIMM0 MORE
               "-device fadump-dev,boot-mem=128M", RAM_1G, .dimm = DIMMS,
    }, {
        "q35/swap", "-M q35 -m 1G,slots=4,maxmem=4G " NUMA DIMM0 MORE
                    "-device fadump-dev,boot-mem=128M,x-move=off", RAM_1G,
                    .method = VIRTIO_FADUMP_METHOD_SWAPPED, .dimm = DIMMS,
    },
};

/* The second one of DIMMs was there from the start, too, on the other host. */
static const Machine loaded = {
    "loaded", "-M q35 -m 1G,slots=4,maxmem=4G " NUMA DIMM0 MORE
              "-device pc-dimm,id=dimm1,memdev=d1,node=0 "
              "-device fadump-dev,boot-mem=128M", RAM_1G, .dimm = DIMMS,
};

static void plug(Fadump *f, const char *id, const char *memdev)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'device_add', 'arguments': "
                             "{ 'driver': 'pc-dimm', 'id': %s, 'memdev': %s, "
                             "'node': 0 } }", id, memdev);
}

static Fadump *start_with_dimms(const Machine *m, const char *more)
{
    Fadump *f = start_and_probe(m, more);

    plug(f, "dimm1", "d1");
    fill_ram(f);
    return f;
}

static void assert_slot(Fadump *f, unsigned slot, uint64_t addr, uint64_t size,
                        uint32_t node, uint32_t flags)
{
    qtest_outl(f->qts, SLOT_SELECT, slot);
    g_assert_cmphex(qtest_inl(f->qts, SLOT_ADDR) |
                    (uint64_t)qtest_inl(f->qts, SLOT_ADDR + 4) << 32, ==, addr);
    g_assert_cmphex(qtest_inl(f->qts, SLOT_SIZE) |
                    (uint64_t)qtest_inl(f->qts, SLOT_SIZE + 4) << 32, ==, size);
    g_assert_cmpint(qtest_inl(f->qts, SLOT_NODE), ==, node);
    g_assert_cmphex(qtest_inl(f->qts, SLOT_FLAGS), ==, flags);
}

static void assert_hidden(Fadump *f)
{
    assert_slot(f, 0, 0, 0, 0, 0);
    assert_slot(f, 1, 0, 0, 0, 0);
}

static void assert_shown(Fadump *f, uint32_t first, uint32_t second)
{
    assert_slot(f, 0, 4 * GiB, 512 * MiB, 1, first);
    assert_slot(f, 1, 4 * GiB + 512 * MiB, 256 * MiB, 0, second);
}

static void write_flags(Fadump *f, unsigned slot, uint8_t flags)
{
    qtest_outl(f->qts, SLOT_SELECT, slot);
    qtest_outb(f->qts, SLOT_FLAGS, flags);
}

static void assert_unplug_refused(Fadump *f, const char *id)
{
    QDict *error = qtest_qmp_assert_failure_ref(f->qts,
        "{ 'execute': 'device_del', 'arguments': { 'id': %s } }", id);

    g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                            "holds a part of a crash dump"));
    qobject_unref(error);
}

/* DIMMs are in the dump, out of sight, and plugged anew at the release. */
static void test_dimm(const void *opaque)
{
    const Machine *m = opaque;
    bool piix4 = strstr(m->opts, "-M pc ");
    Fadump *f = start_with_dimms(m, "");
    unsigned i;

    assert_shown(f, ENABLED, ENABLED | INSERTING);
    write_flags(f, 1, INSERTING);
    assert_register(f, OK);
    check_confinement(f, false);
    /* what the guest was asked for before it died is not asked of the next */
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'device_del', "
                             "'arguments': { 'id': 'dimm1' } }");
    trigger_panic(f);
    check_confinement(f, true);
    assert_hidden(f);
    probe(f);
    check_dump(f);

    /* nobody can take them */
    assert_unplug_refused(f, "dimm0");
    assert_unplug_refused(f, "dimm1");
    write_flags(f, 0, EJECT);
    write_flags(f, 1, EJECT);
    check_dump(f);
    /* what comes now is no part of the dump */
    plug(f, "dimm2", "d2");
    assert_slot(f, 2, 4 * GiB + 768 * MiB, 128 * MiB, 0, ENABLED | INSERTING);
    write_flags(f, 2, INSERTING);
    if (piix4) {
        qtest_outb(f->qts, PIIX4_GPE0_STS, GPE_MEMORY);
        g_assert_cmphex(qtest_inb(f->qts, PIIX4_GPE0_STS) & GPE_MEMORY, ==, 0);
    }

    release(f);
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    assert_slot(f, 2, 4 * GiB + 768 * MiB, 128 * MiB, 0, ENABLED);
    if (piix4) {
        g_assert_cmphex(qtest_inb(f->qts, PIIX4_GPE0_STS) & GPE_MEMORY, !=, 0);
    }
    write_flags(f, 0, INSERTING);
    write_flags(f, 1, INSERTING);
    assert_shown(f, ENABLED, ENABLED);

    /* then they are the guest's as ever */
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'device_del', "
                             "'arguments': { 'id': 'dimm2' } }");
    write_flags(f, 2, REMOVING);
    write_flags(f, 2, EJECT);
    qtest_qmp_eventwait(f->qts, "DEVICE_DELETED");
    assert_slot(f, 2, 0, 0, 0, 0);
    for (i = 0; i < 2; i++) {
        system_reset(f);
        probe(f);
        assert_shown(f, ENABLED, ENABLED);
        fill_ram(f);
        assert_register(f, OK);
        trigger_panic(f);
        assert_hidden(f);
        probe(f);
        check_dump(f);
        release(f);
        assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
        write_flags(f, 0, INSERTING);
        write_flags(f, 1, INSERTING);
    }
    stop(f);
}

/* A dump that nobody releases does not hide them for ever. */
static void test_dropped(const void *opaque)
{
    Fadump *f = start_with_dimms(opaque, ",max-boots=1");

    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    assert_hidden(f);
    system_reset(f);
    g_assert_cmpint(f->released, ==, 1);
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    check_confinement(f, false);
    stop(f);
}

/* The host's release is not the driver's, which may have them mapped. */
static void test_host_release(const void *opaque)
{
    Fadump *f = start_with_dimms(opaque, "");

    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    assert_hidden(f);
    assert_request(f, RELEASE, NONE);
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    write_flags(f, 0, INSERTING);
    write_flags(f, 1, INSERTING);

    /* where there is no driver there is nobody to wait for */
    assert_register(f, OK);
    trigger_panic(f);
    assert_hidden(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    write_flags(f, 0, INSERTING);
    write_flags(f, 1, INSERTING);

    /* nor after a reset */
    system_reset(f);
    probe(f);
    assert_register(f, OK);
    trigger_panic(f);
    probe(f);
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'fadump-release' }");
    assert_hidden(f);
    system_reset(f);
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    stop(f);
}

/* With all of the machine's own RAM set aside DIMMs still wait. */
static void test_full(const void *opaque)
{
    Fadump *f = start_with_dimms(opaque, ",full=on");

    assert_register(f, OK);
    trigger_panic(f);
    check_confinement(f, false);
    assert_hidden(f);
    probe(f);
    check_whole_dump(f);
    release(f);
    assert_shown(f, ENABLED | INSERTING, ENABLED | INSERTING);
    stop(f);
}

static void test_migrate(const void *opaque)
{
    Fadump *src = start_with_dimms(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);

    write_flags(src, 1, INSERTING);
    assert_register(src, OK);
    save_to(src, path);
    dst = load_from(&loaded, path, src, "completed");
    stop(src);
    assert_shown(dst, ENABLED, ENABLED);
    trigger_panic(dst);
    probe(dst);
    check_dump(dst);

    src = dst;
    g_free(path);
    path = g_build_filename(src->dir, "stream", NULL);
    save_to(src, path);
    dst = load_from(&loaded, path, src, "completed");
    stop(src);
    assert_hidden(dst);
    assert_unplug_refused(dst, "dimm1");
    check_confinement(dst, true);
    check_dump(dst);
    probe_features(dst, ALL_FEATURES);
    release(dst);
    assert_shown(dst, ENABLED | INSERTING, ENABLED | INSERTING);
    stop(dst);
}

/* ------------------------------------------------------------------ */
/* In any order                                                       */

#define RANDOM_SLOTS 8
#define RANDOM_STEPS 60

static const Machine for_random = {
    "q35", "-M q35 -m 1G,slots=8,maxmem=8G " NUMA
           "-device fadump-dev,boot-mem=128M", RAM_1G,
};

typedef struct RandomDimm {
    /* 0: the slot is empty */
    uint64_t size;
    bool hidden;
} RandomDimm;

typedef struct Random {
    Fadump *f;
    GRand *rand;
    RandomDimm dimms[RANDOM_SLOTS];
    bool held;
    /* what the guest has when it dies */
    Machine now;
} Random;

static uint64_t random_base(unsigned slot)
{
    return 4 * GiB + slot * 512 * MiB;
}

static void random_plug(Random *r, unsigned slot)
{
    g_autofree char *id = g_strdup_printf("dimm%u", slot);
    g_autofree char *mem = g_strdup_printf("mem%u", slot);
    uint64_t size = g_rand_int_range(r->rand, 1, 5) * 128 * MiB;

    qtest_qmp_assert_success(r->f->qts, "{ 'execute': 'object-add', "
        "'arguments': { 'qom-type': 'memory-backend-ram', 'id': %s, 'size': %"
        PRIu64 " } }", mem, size);
    qtest_qmp_assert_success(r->f->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'pc-dimm', 'id': %s, 'memdev': %s, "
        "'slot': %d, 'node': %d, 'addr': %" PRIu64 " } }", id, mem, slot,
        (int)dimm_node(random_base(slot)), random_base(slot));
    write_flags(r->f, slot, INSERTING);
    r->dimms[slot] = (RandomDimm) { size, false };
}

static void random_unplug(Random *r, unsigned slot)
{
    g_autofree char *id = g_strdup_printf("dimm%u", slot);
    g_autofree char *mem = g_strdup_printf("mem%u", slot);

    if (r->dimms[slot].hidden) {
        assert_unplug_refused(r->f, id);
        return;
    }
    qtest_qmp_assert_success(r->f->qts, "{ 'execute': 'device_del', "
                             "'arguments': { 'id': %s } }", id);
    write_flags(r->f, slot, REMOVING);
    write_flags(r->f, slot, EJECT);
    qtest_qmp_eventwait(r->f->qts, "DEVICE_DELETED");
    qtest_qmp_assert_success(r->f->qts, "{ 'execute': 'object-del', "
                             "'arguments': { 'id': %s } }", mem);
    r->dimms[slot].size = 0;
}

static void random_crash(Random *r)
{
    unsigned i, n = 0;

    if (r->held) {
        /* the dump that is held stays, and what came since is the guest's */
        trigger_panic(r->f);
        probe(r->f);
        return;
    }
    memset(r->now.dimm, 0, sizeof(r->now.dimm));
    for (i = 0; i < RANDOM_SLOTS; i++) {
        if (r->dimms[i].size) {
            r->now.dimm[n++] = (Span) { random_base(i), r->dimms[i].size };
            r->dimms[i].hidden = true;
        }
    }
    r->f->m = &r->now;
    fill_ram(r->f);
    assert_register(r->f, OK);
    trigger_panic(r->f);
    probe(r->f);
    r->held = true;
}

static void random_release(Random *r)
{
    unsigned i;

    if (!r->held) {
        return;
    }
    release(r->f);
    r->held = false;
    for (i = 0; i < RANDOM_SLOTS; i++) {
        if (r->dimms[i].hidden) {
            r->dimms[i].hidden = false;
            assert_slot(r->f, i, random_base(i), r->dimms[i].size,
                        dimm_node(random_base(i)), ENABLED | INSERTING);
            write_flags(r->f, i, INSERTING);
        }
    }
}

static void random_check(Random *r)
{
    unsigned i;

    for (i = 0; i < RANDOM_SLOTS; i++) {
        if (r->dimms[i].size && !r->dimms[i].hidden) {
            assert_slot(r->f, i, random_base(i), r->dimms[i].size,
                        dimm_node(random_base(i)), ENABLED);
        } else {
            assert_slot(r->f, i, 0, 0, 0, 0);
        }
    }
    if (r->held) {
        check_dump(r->f);
    }
}

static void random_steps(guint32 seed)
{
    Random r = {
        .f = start_and_probe(&for_random, ",max-boots=1000"),
        .rand = g_rand_new_with_seed(seed),
        .now = for_random,
    };
    unsigned i;

    for (i = 0; i < RANDOM_STEPS; i++) {
        unsigned slot = g_rand_int_range(r.rand, 0, RANDOM_SLOTS);

        switch (g_rand_int_range(r.rand, 0, 6)) {
        case 0:
            random_crash(&r);
            break;
        case 1:
            random_release(&r);
            break;
        case 2:
            system_reset(r.f);
            probe(r.f);
            break;
        default:
            if (r.dimms[slot].size) {
                random_unplug(&r, slot);
            } else {
                random_plug(&r, slot);
            }
            break;
        }
        random_check(&r);
    }
    g_rand_free(r.rand);
    stop(r.f);
}

/* FADUMP_SEED repeats a sequence that has failed. */
static void test_random(const void *opaque)
{
    const char *wanted = g_getenv("FADUMP_SEED");
    guint32 seed;

    if (wanted) {
        random_steps(g_ascii_strtoull(wanted, NULL, 0));
        return;
    }
    for (seed = 20261126; seed < 20261126 + 4; seed++) {
        g_test_message("FADUMP_SEED=%" PRIu32, seed);
        random_steps(seed);
    }
}

/* ------------------------------------------------------------------ */
/* virtio-mem                                                         */

#define VMEM_SLOT 5
#define VMEM_FEATURES (1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)
#define VMEM_REQUESTED (512 * MiB)
#define VMEM_BLOCK (2 * MiB)

/* Of 1 GiB at 4 GiB the guest plugs a part in the middle. */
#define VMEM(options) \
    "-M q35 -m 1G,maxmem=4G " NUMA \
    "-object memory-backend-ram,id=v,size=1G -device virtio-mem-pci,id=v0," \
    "memdev=v,node=1,memaddr=0x100000000,requested-size=512M,block-size=2M," \
    "addr=5,unplugged-inaccessible=" options " " \
    "-device fadump-dev,boot-mem=128M", \
    RAM_1G, .dimm = { { 4 * GiB + 128 * MiB, 64 * MiB } }

static const Machine vmems[] = {
    { "q35", VMEM("off") },
    { "q35/memslots", VMEM("on,dynamic-memslots=on") },
};

static void assert_vmem(Other *v, uint64_t requested, uint64_t plugged)
{
    QVirtioDevice *vdev = &v->pci->vdev;
    uint64_t usable = qvirtio_config_readq(vdev,
        offsetof(struct virtio_mem_config, usable_region_size));

    g_assert_cmphex(qvirtio_config_readq(vdev,
        offsetof(struct virtio_mem_config, requested_size)), ==, requested);
    g_assert_cmphex(qvirtio_config_readq(vdev,
        offsetof(struct virtio_mem_config, plugged_size)), ==, plugged);
    g_assert_cmpint(!usable, ==, !requested);
}

static uint16_t vmem_request(Fadump *f, Other *v, uint16_t type, const Span *s)
{
    struct virtio_mem_req req = { .type = cpu_to_le16(type) };
    struct virtio_mem_resp resp;
    uint64_t at = guest_alloc(&f->qs->alloc, sizeof(req) + sizeof(resp));
    uint32_t head;

    req.u.plug.addr = cpu_to_le64(s->base);
    req.u.plug.nb_blocks = cpu_to_le16(s->size / VMEM_BLOCK);
    qtest_memwrite(f->qts, at, &req, sizeof(req));
    head = qvirtqueue_add(f->qts, v->vq, at, sizeof(req), false, true);
    qvirtqueue_add(f->qts, v->vq, at + sizeof(req), sizeof(resp), true, false);
    qvirtqueue_kick(f->qts, &v->pci->vdev, v->vq, head);
    qvirtio_wait_used_elem(f->qts, &v->pci->vdev, v->vq, head, NULL,
                           TIMEOUT_US);
    qtest_memread(f->qts, at + sizeof(req), &resp, sizeof(resp));
    guest_free(&f->qs->alloc, at);
    return le16_to_cpu(resp.type);
}

#define assert_vmem_request(f, v, type, status) \
    g_assert_cmpint(vmem_request(f, v, VIRTIO_MEM_REQ_##type, (f)->m->dimm), \
                    ==, VIRTIO_MEM_RESP_##status)

/* The guest has plugged what of virtio-mem it has, and registered. */
static Other plug_vmem(Fadump *f)
{
    Other v = start_other(f, VMEM_SLOT, VMEM_FEATURES);

    assert_vmem(&v, VMEM_REQUESTED, 0);
    assert_vmem_request(f, &v, PLUG, ACK);
    assert_vmem(&v, VMEM_REQUESTED, f->m->dimm[0].size);
    fill_ram(f);
    assert_register(f, OK);
    return v;
}

/* The next boot finds a device that has and wants nothing. */
static void assert_vmem_held(Fadump *f)
{
    Other v = start_other(f, VMEM_SLOT, VMEM_FEATURES);

    assert_vmem(&v, 0, 0);
    assert_vmem_request(f, &v, PLUG, ERROR);
    assert_vmem_request(f, &v, UNPLUG, ERROR);
    assert_vmem_request(f, &v, STATE, ERROR);
    assert_vmem_request(f, &v, UNPLUG_ALL, ACK);
    assert_vmem(&v, 0, 0);
    stop_other(f, &v);
}

static void test_vmem(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");
    unsigned i;

    for (i = 0; i < 2; i++) {
        Other v = plug_vmem(f);

        stop_other(f, &v);
        trigger_panic(f);
        check_confinement(f, true);
        assert_vmem_held(f);
        probe(f);
        check_dump(f);
        /* a reset gives nothing back either */
        system_reset(f);
        assert_vmem_held(f);
        probe(f);
        check_dump(f);
        release(f);
        v = start_other(f, VMEM_SLOT, VMEM_FEATURES);
        assert_vmem(&v, VMEM_REQUESTED, 0);
        stop_other(f, &v);
    }
    stop(f);
}

/* On both sides of a migration it is held; the release waits for its end. */
static void test_vmem_migrate(const void *opaque)
{
    Fadump *src = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *uri = NULL;
    Other v = plug_vmem(src);

    stop_other(src, &v);
    trigger_panic(src);
    probe(src);
    save_to(src, path);
    dst = load_from(opaque, path, src, "completed");
    stop(src);
    check_confinement(dst, true);
    check_dump(dst);
    probe_features(dst, ALL_FEATURES);
    assert_vmem_held(dst);

    src = dst;
    limit_bandwidth(src, 64 * KiB);
    g_free(path);
    path = g_build_filename(src->dir, "stream", NULL);
    uri = g_strdup_printf("file:%s", path);
    migrate_to(src, uri);
    wait_sent(src);
    release(src);
    v = start_other(src, VMEM_SLOT, VMEM_FEATURES);
    assert_vmem(&v, 0, 0);
    limit_bandwidth(src, 100 * GiB);
    wait_migration(src, "completed");
    dst = load_from(opaque, path, src, "completed");
    stop_other(src, &v);
    stop(src);
    v = start_other(dst, VMEM_SLOT, VMEM_FEATURES);
    while (!qvirtio_config_readq(&v.pci->vdev,
               offsetof(struct virtio_mem_config, requested_size))) {
        g_usleep(10000);
    }
    assert_vmem(&v, VMEM_REQUESTED, 0);
    assert_vmem_request(dst, &v, PLUG, ACK);
    stop_other(dst, &v);
    stop(dst);
}

/* ------------------------------------------------------------------ */
/* virtio-balloon                                                     */

static const Machine ballooned = {
    "balloon", "-M q35 -m 1G -smp 2 -device virtio-balloon-pci,addr=5 "
               "-device fadump-dev,boot-mem=128M",
    { { 0, 1 * GiB } }, { { 0, B } },
};

static void set_balloon(Fadump *f, uint64_t size)
{
    qtest_qmp_assert_success(f->qts, "{ 'execute': 'balloon', 'arguments': "
                             "{ 'value': %" PRIu64 " } }", size);
}

/* Of how much the guest is asked */
static uint64_t asked_of_guest(Fadump *f)
{
    Other balloon = start_other(f, 5, 0);
    uint64_t pages = qvirtio_config_readl(&balloon.pci->vdev,
        offsetof(struct virtio_balloon_config, num_pages));

    stop_other(f, &balloon);
    return pages << VIRTIO_BALLOON_PFN_SHIFT;
}

/* A boot with little memory is asked for none of it. */
static void test_balloon(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, ""), *dst;
    g_autofree char *path = g_build_filename(f->dir, "stream", NULL);

    fill_ram(f);
    set_balloon(f, 512 * MiB);
    g_assert_cmphex(asked_of_guest(f), ==, 512 * MiB);
    assert_register(f, OK);
    trigger_panic(f);
    g_assert_cmphex(asked_of_guest(f), ==, 0);
    probe(f);
    check_dump(f);
    set_balloon(f, 256 * MiB);
    g_assert_cmphex(asked_of_guest(f), ==, 0);

    save_to(f, path);
    dst = load_from(opaque, path, f, "completed");
    stop(f);
    probe_features(dst, ALL_FEATURES);
    g_assert_cmphex(asked_of_guest(dst), ==, 0);
    release(dst);
    g_assert_cmphex(asked_of_guest(dst), ==, 768 * MiB);
    stop(dst);
}

/* A kernel may have its notes in memory that was plugged. */
static void test_note(const void *opaque)
{
    Fadump *f = start_with_dimms(opaque, "");
    struct virtio_fadump_region regions[] = {
        CPU_STATE, BOOT_MEM(0, B), VMCOREINFO(4 * GiB + MiB, 4096),
    };

    g_assert_cmpint(do_register(f, regions, ARRAY_SIZE(regions), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    stop(f);
}

void fadump_add_hotplug_tests(void)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(dimms); i++) {
        add_test("dimm", &dimms[i], test_dimm);
    }
    add_test("dimm-dropped", &dimms[1], test_dropped);
    add_test("dimm-host-release", &dimms[1], test_host_release);
    add_test("dimm-full", &dimms[1], test_full);
    add_test("dimm-migrate", &dimms[1], test_migrate);
    add_test("dimm-note", &dimms[1], test_note);
    add_test("dimm-random", &for_random, test_random);
    for (i = 0; i < ARRAY_SIZE(vmems); i++) {
        add_test("virtio-mem", &vmems[i], test_vmem);
    }
    add_test("virtio-mem-migrate", &vmems[0], test_vmem_migrate);
    add_test("asks", &ballooned, test_balloon);
}
