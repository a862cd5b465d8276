/*
 * QTest testcase for fadump-dev: hostile migration streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/timer.h"
#include "fadump-lib.h"

/* Each destination must refuse the stream, and live. */
static void assert_refused(const Machine *m, const Fadump *src,
                           const char *path, const char *buf, gsize len)
{
    Fadump *dst;

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "failed");
    settle(dst);
    g_assert_cmpint(dst->resets, ==, 0);
    stop(dst);
}

static void seal(struct virtio_fadump_desc *h, uint64_t size)
{
    h->checksum = 0;
    h->checksum = cpu_to_le32(crc32(0, (const uint8_t *)h, size));
}

/* Destinations in the guest come along, and are checked like a request. */
static void test_migrate_dests(const void *opaque)
{
    static const struct virtio_fadump_region in_guest[] = {
        CPU_STATE, BOOT_MEM_TO(0, 64 * MiB, 512 * MiB),
        BOOT_MEM_TO(64 * MiB, 64 * MiB, 640 * MiB),
    };
    /* as the stream has them: src.base, src.size, dst */
    const uint64_t dests[] = {
        0, cpu_to_be64(64 * MiB), cpu_to_be64(512 * MiB),
        cpu_to_be64(64 * MiB), cpu_to_be64(64 * MiB), cpu_to_be64(640 * MiB),
    };
    static const struct {
        unsigned field;
        uint64_t value;
    } bad[] = {
        /* wraps, too long, in boot memory, outside RAM, unaligned, overlaps */
        { 0, UINT64_MAX - 4095 }, { 1, GiB }, { 2, 64 * MiB }, { 2, GiB },
        { 2, 512 * MiB + 1 }, { 2, 512 * MiB + 4096 }, { 5, 512 * MiB },
        { 2, UINT64_MAX }, { 0, 256 * MiB },
    };
    const Machine *m = opaque;
    Fadump *src = start_and_probe(m, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *buf = NULL;
    g_autoptr(GByteArray) desc = NULL;
    uint8_t *found;
    unsigned count[4];
    gsize len;
    size_t i;

    probe_features(src, ALL_FEATURES);
    fill_ram(src);
    g_assert_cmpint(do_register(src, in_guest, ARRAY_SIZE(in_guest), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    found = find_bytes(buf, len, dests, sizeof(dests));
    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        stq_be_p(found + bad[i].field * sizeof(dests[0]), bad[i].value);
        assert_refused(m, src, path, buf, len);
        memcpy(found, dests, sizeof(dests));
    }

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "completed");
    unlink(path);
    stop(src);
    assert_state(dst, REGISTERED);
    trigger_panic(dst);
    probe_features(dst, ALL_FEATURES);
    assert_state(dst, DUMP_AVAILABLE);
    desc = read_descriptor(dst);
    check_places(dst, desc, count);
    g_assert_cmpint(count[0], >, 3);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_GUEST], >, 3);
    g_assert_cmpint(count[VIRTIO_FADUMP_WHERE_WINDOW], ==, 0);
    stop(dst);
}

/*
 * What goes ahead of RAM: the number of blocks that the host can hold and a bit
 * for each, and what is swapped.
 */
static void test_migrate_early(const void *opaque)
{
    /* and an instance id of 0, which vmdesc does not have */
    static const char name[] = "fadump-hold-early\0\0\0";
    const Machine *m = opaque;
    Fadump *src = start_and_probe(m, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *buf = NULL;
    /* of 2 MiB, behind the descriptor */
    const uint32_t nr_blocks = src->window_len / (2 * MiB) - 1;
    uint8_t *blocks, *nr_swapped;
    gsize len;

    assert_register(src, OK);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    blocks = find_bytes(buf, len, name, sizeof(name)) + sizeof(name) + 4;
    nr_swapped = blocks + 4 + nr_blocks / 8;
    g_assert_cmpint(ldl_be_p(blocks), ==, nr_blocks);
    g_assert_cmpint(ldl_be_p(nr_swapped), ==, 0);

    stl_be_p(blocks, nr_blocks + 1);
    assert_refused(m, src, path, buf, len);
    stl_be_p(blocks, 0);
    assert_refused(m, src, path, buf, len);
    stl_be_p(blocks, UINT32_MAX);
    assert_refused(m, src, path, buf, len);
    stl_be_p(blocks, nr_blocks);
    stl_be_p(nr_swapped, 1);
    assert_refused(m, src, path, buf, len);
    stl_be_p(nr_swapped, 65);
    assert_refused(m, src, path, buf, len);
    stl_be_p(nr_swapped, UINT32_MAX);
    assert_refused(m, src, path, buf, len);
    stl_be_p(nr_swapped, 0);

    /* blocks that are said to hold something, and do not, harm nobody */
    memset(blocks + 4, 0xff, nr_blocks / 8);
    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "completed");
    stop(src);
    assert_state(dst, REGISTERED);
    trigger_panic(dst);
    probe(dst);
    assert_state(dst, DUMP_AVAILABLE);
    assert_request(dst, RELEASE, OK);
    check_released(dst);
    stop(dst);
}

static void test_migrate_hostile(const void *opaque)
{
    const Machine *m = opaque;
    Fadump *src = start_and_probe(m, ""), *dst;
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    g_autofree char *buf = NULL, *registered = NULL;
    g_autoptr(GByteArray) desc = NULL;
    g_autofree struct virtio_fadump_desc *h = NULL;
    struct virtio_fadump_desc good;
    struct virtio_fadump_range *r, good_range;
    struct virtio_fadump_vcpu *v, good_vcpu;
    StreamEnd *end, old_end;
    Stream *s, old, want;
    uint8_t *found;
    gsize len, registered_len;
    static const uint32_t idle[] = { IDLE, ANNOUNCED, DYING };
    uint32_t i;

    assert_register(src, OK);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &registered, &registered_len,
                                      NULL));
    s = find_registered(src, registered, registered_len);
    old = *s;
    end = stream_end(s);
    old_end = *end;
    g_assert_cmphex(end->cause, ==, 0);
    g_assert_cmphex(end->cause_cpu, ==, UINT32_MAX);
    g_assert_cmpint(end->driver_seen, ==, 1);
    g_assert_cmphex(end->boot_timer, ==, UINT64_MAX);

#define assert_field_refused(field, value) do { \
        s->field = value; \
        assert_refused(m, src, path, registered, registered_len); \
        *s = old; \
        *end = old_end; \
    } while (0)
#define assert_end_refused(field, value) do { \
        end->field = value; \
        assert_refused(m, src, path, registered, registered_len); \
        *s = old; \
        *end = old_end; \
    } while (0)
    assert_field_refused(boot_mem, cpu_to_be64(2 * B));
    assert_field_refused(boot_mem_max, cpu_to_be64(2 * GiB));
    assert_field_refused(window_addr, 0);
    assert_field_refused(life, cpu_to_be32(HELD_DYING + 1));
    assert_field_refused(life, cpu_to_be32(UINT32_MAX));
    /* what no stream is written in */
    assert_field_refused(life, cpu_to_be32(CAPTURING));
    assert_field_refused(boot_size, 0);
    assert_field_refused(boot_size, cpu_to_be64(B + 4096));
    assert_field_refused(boot_size, cpu_to_be64(512 * MiB));
    assert_field_refused(boot_size, cpu_to_be64(UINT64_MAX));
    assert_field_refused(vmcoreinfo, cpu_to_be64(UINT64_MAX));
    assert_field_refused(vmcoreinfo, cpu_to_be64(1 * GiB));
    assert_field_refused(vmcoreinfo_size, cpu_to_be64(256 * MiB));
    assert_field_refused(crash_note_size, cpu_to_be64(UINT64_MAX));
    assert_field_refused(crash_note_size, cpu_to_be64(4097));
    assert_field_refused(crash_note, cpu_to_be64(3 * GiB));
    assert_field_refused(nr_dests, cpu_to_be32(1));
    assert_field_refused(nr_dests, cpu_to_be32(MAX_REGIONS + 1));
    assert_field_refused(nr_dests, cpu_to_be32(UINT32_MAX));
    assert_field_refused(desc_size, cpu_to_be64(4096));
    assert_field_refused(held_full, 1);
    /* registered, with a size that is not the default, is not IDLE */
    for (i = 0; i < ARRAY_SIZE(idle); i++) {
        s->boot_size = cpu_to_be64(256 * MiB);
        assert_field_refused(life, cpu_to_be32(idle[i]));
        /* nothing is registered, but notes */
        assert_field_refused(life, cpu_to_be32(idle[i]));
    }
    /* and so is what would be yielded */
    for (i = 0; i < ARRAY_SIZE(idle); i++) {
        s->vmcoreinfo_size = s->crash_note_size = 0;
        end->cause = cpu_to_be32(idle[i] == DYING ? VIRTIO_FADUMP_CAUSE_PANIC
                                                  : 0);
        end->will_yield = 1;
        assert_field_refused(life, cpu_to_be32(idle[i]));
    }
    /* boots are of a dump that is held */
    assert_end_refused(nr_boots, cpu_to_be32(1));
    assert_end_refused(nr_lost, cpu_to_be32(1));
    /* nobody has died, and there is a cause, or a vCPU */
    assert_end_refused(cause, cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC));
    assert_end_refused(cause_cpu, 0);
    /* who has died has one, and there are so many */
    assert_field_refused(life, cpu_to_be32(DYING_REGISTERED));
    s->life = cpu_to_be32(DYING_REGISTERED);
    assert_end_refused(cause,
                       cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC_DEVICE + 1));
    s->life = cpu_to_be32(DYING_REGISTERED);
    assert_end_refused(cause, cpu_to_be32(1000));
    s->life = cpu_to_be32(DYING_REGISTERED);
    end->cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC);
    assert_end_refused(cause_cpu, cpu_to_be32(2));
    /* a boot's time runs while a dump is held */
    assert_end_refused(boot_timer, cpu_to_be64(1));
    assert_end_refused(boot_timer, cpu_to_be64(INT64_MAX));
    /* says that a dump is held, and there is none */
    for (i = HELD; i <= HELD_DYING; i++) {
        assert_field_refused(life, cpu_to_be32(i));
        s->vmcoreinfo_size = s->crash_note_size = 0;
        s->desc_size = cpu_to_be64(4096);
        s->window_shown = 1;
        end->nr_boots = cpu_to_be32(1);
        assert_field_refused(life, cpu_to_be32(i));
    }

    /* a reset that was asked for on the other host happens on this one */
    end->cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC);
    end->cause_cpu = cpu_to_be32(1);
    s->life = cpu_to_be32(DYING_REGISTERED);
    g_assert_true(g_file_set_contents(path, registered, registered_len, NULL));
    *s = old;
    *end = old_end;
    dst = load_from(m, path, src, "completed");
    wait_count(dst, &dst->captured, 1, "panic");
    stop(dst);

    /* as it was, the stream is good: all above failed for what was changed */
    g_assert_true(g_file_set_contents(path, registered, registered_len, NULL));
    dst = load_from(m, path, src, "completed");
    assert_state(dst, REGISTERED);
    stop(dst);
    stop(src);

    src = start_and_probe(m, "");
    g_free(path);
    path = g_build_filename(src->dir, "stream", NULL);
    assert_register(src, OK);
    trigger_panic(src);
    probe(src);
    desc = read_descriptor(src);
    save_to(src, path);
    g_assert_true(g_file_get_contents(path, &buf, &len, NULL));
    found = find_bytes(buf, len, desc->data, desc->len);
    /* at its place in the stream it is not aligned */
    h = g_memdup2(found, desc->len);
    r = (void *)((uint8_t *)h + le64_to_cpu(h->ranges_off));
    v = (void *)((uint8_t *)h + le64_to_cpu(h->vcpus_off));
    good = *h;
    good_range = *r;
    good_vcpu = *v;

    h->cause = ~h->cause;
    memcpy(found, h, desc->len);
    assert_refused(m, src, path, buf, len);
    *h = good;

#define assert_desc_refused(field, value) do { \
        (field) = (value); \
        seal(h, desc->len); \
        memcpy(found, h, desc->len); \
        assert_refused(m, src, path, buf, len); \
        *h = good; \
        *r = good_range; \
        *v = good_vcpu; \
    } while (0)
    assert_desc_refused(h->magic[0], 'X');
    assert_desc_refused(h->version,
                        cpu_to_le32(VIRTIO_FADUMP_DESC_VERSION + 1));
    assert_desc_refused(h->total_size, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(h->hdr_size, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->nr_ranges, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->ranges_off, cpu_to_le64(UINT64_MAX - 7));
    assert_desc_refused(h->range_size, cpu_to_le32(8));
    assert_desc_refused(h->nr_vcpus, cpu_to_le32(UINT32_MAX));
    assert_desc_refused(h->crash_cpu, cpu_to_le32(2));
    assert_desc_refused(h->vmcoreinfo.size, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(h->crash_note.off, cpu_to_le64(desc->len));
    assert_desc_refused(v->notes.off, cpu_to_le64(UINT64_MAX - 3));
    assert_desc_refused(v->notes.size, 0);
    assert_desc_refused(v->hv_note.size, cpu_to_le64(desc->len));
    assert_desc_refused(r->where, cpu_to_le32(9));
    assert_desc_refused(r->dest, cpu_to_le64(src->window_len));
    assert_desc_refused(r->dest, cpu_to_le64(UINT64_MAX - 4095));
    assert_desc_refused(r->len, cpu_to_le64(UINT64_MAX));
    assert_desc_refused(r->addr, cpu_to_le64(512 * MiB));
    assert_desc_refused(r->held, cpu_to_le64(UINT64_MAX));
    memcpy(found, h, desc->len);

    want = (Stream) {
        cpu_to_be64(B), cpu_to_be64(256 * MiB), cpu_to_be64(src->window),
        cpu_to_be32(HELD_COUNTED), cpu_to_be64(B),
        0, 0, 0, 0, 0, cpu_to_be64(desc->len), 0, 1
    };
    s = (Stream *)find_bytes(buf, len, &want, sizeof(want));
    end = stream_end(s);
    old_end = *end;
    g_assert_cmphex(end->nr_boots, ==, cpu_to_be32(1));
    s->desc_size = cpu_to_be64(UINT64_MAX);
    assert_refused(m, src, path, buf, len);
    s->desc_size = cpu_to_be64(desc->len - 8);
    assert_refused(m, src, path, buf, len);
    s->desc_size = 0;
    assert_refused(m, src, path, buf, len);
    *s = want;
    s->window_shown = 0;
    assert_refused(m, src, path, buf, len);
    *s = want;
    /* there is a dump, and nothing is held */
    for (i = IDLE; i <= CAPTURING; i++) {
        s->life = cpu_to_be32(i);
        assert_refused(m, src, path, buf, len);
    }
    *s = want;
    /* a boot that counts has been counted */
    end->nr_boots = 0;
    assert_refused(m, src, path, buf, len);
    s->life = cpu_to_be32(HELD_DYING);
    assert_refused(m, src, path, buf, len);
    *s = want;
    *end = old_end;
    end->boot_timer = cpu_to_be64(NANOSECONDS_PER_SECOND);
    assert_refused(m, src, path, buf, len);
    *end = old_end;
    end->cause = cpu_to_be32(VIRTIO_FADUMP_CAUSE_PANIC);
    assert_refused(m, src, path, buf, len);
    *end = old_end;

    /* a boot that has as long as it likes gets what this host gives it */
    s->life = cpu_to_be32(HELD);
    end->boot_timer = cpu_to_be64(INT64_MAX);
    end->nr_boots = cpu_to_be32(UINT32_MAX);
    /* no driver is up, which would count the boot at once */
    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    *s = want;
    *end = old_end;
    dst = load_from(m, path, src, "completed");
    assert_state(dst, DUMP_AVAILABLE);
    /* more boots than can be, and none is lost by that */
    system_reset(dst);
    wait_count(dst, &dst->released, 1, "max-boots");
    stop(dst);

    g_assert_true(g_file_set_contents(path, buf, len, NULL));
    dst = load_from(m, path, src, "completed");
    assert_state(dst, DUMP_AVAILABLE);
    stop(dst);
    unlink(path);
    stop(src);
}

void fadump_add_stream_tests(void)
{
    add_test("migrate-dests", Q35_1G, test_migrate_dests);
    add_test("migrate-early", Q35_1G, test_migrate_early);
    add_test("migrate-hostile", Q35_1G, test_migrate_hostile);
}
