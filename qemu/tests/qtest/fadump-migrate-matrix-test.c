/*
 * QTest cases for fadump-dev: each state of it, by each way to another machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The other side has the state, and where there is a dump the same one: what
 * fadump-save writes of it is compared byte by byte.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

#define RAM (384 * MiB)
/* Given back before the rest of a dump, with one of fill_ram()'s pages */
#define DISCARDED (32 * MiB)

typedef struct State State;
typedef struct Way Way;

/* A cell of the matrix, and what its test makes */
typedef struct Cell {
    const Way *way;
    const State *state;
    Machine m;
    /* a disk for snapshots */
    char *image;
    /* files: RAM that both machines have; the dump that the first one held */
    int ram, core;
} Cell;

struct State {
    const char *name;
    /* properties of the device */
    const char *props;
    /* VIRTIO_FADUMP_METHOD_*, of a dump that is whole; not of another */
    uint32_t method;
    /* the machine has died, and its reset has not come yet */
    bool dying;
    /* the host reads the dump when it is to go, and is done later */
    bool read;
    void (*enter)(Fadump *f);
};

struct Way {
    const char *name;
    /* migration capabilities, of both sides and of the first only */
    const char *caps[3], *src_caps[2];
    bool shared_ram, snapshot, postcopy;
    Fadump *(*go)(const Cell *c, Fadump *src);
};

/* ------------------------------------------------------------------ */
/* States                                                             */

static const struct virtio_fadump_region in_guest[] = {
    CPU_STATE, BOOT_MEM_TO(0, B, 2 * B),
};

static void enter_idle(Fadump *f)
{
}

static void enter_registered(Fadump *f)
{
    assert_register(f, OK);
}

static void enter_held(Fadump *f)
{
    assert_register(f, OK);
    crash_and_probe(f);
}

static void enter_guest(Fadump *f)
{
    g_assert_cmpint(do_register(f, in_guest, ARRAY_SIZE(in_guest), NULL), ==,
                    VIRTIO_FADUMP_S_OK);
    crash_and_probe(f);
}

static void enter_discarded(Fadump *f)
{
    enter_held(f);
    assert_discard(f, DISCARDED, 8 * MiB, OK);
}

static const State states[] = {
    { "idle", "", .enter = enter_idle },
    { "registered", "", .enter = enter_registered },
    { "dying", "", .dying = true, .enter = enter_registered },
    { "moved", "", VIRTIO_FADUMP_METHOD_MOVED, .enter = enter_held },
    { "swapped", ",x-move=off", VIRTIO_FADUMP_METHOD_SWAPPED,
      .enter = enter_held },
    { "copied", ",x-move=off,x-swap=off", VIRTIO_FADUMP_METHOD_COPIED,
      .enter = enter_held },
    { "guest", "", .enter = enter_guest },
    { "discarded", "", .enter = enter_discarded },
    { "discarded-swapped", ",x-move=off", .enter = enter_discarded },
    { "read", "", .read = true, .enter = enter_held },
};

/* ------------------------------------------------------------------ */
/* Ways                                                               */

/* For each way: a dump that is read stays here. */
static void assert_refused(const Cell *c, Fadump *f)
{
    const unsigned ended = f->save_ended;
    int fd = save_to_pipe(f);

    if (c->way->snapshot) {
        g_autofree char *said = hmp(f, "savevm s");

        g_assert_nonnull(strstr(said, "being saved"));
        qtest_qmp_assert_success(f->qts, "{ 'execute': 'cont' }");
    } else {
        QDict *error = qtest_qmp_assert_failure_ref(f->qts, "{ 'execute': "
            "'migrate', 'arguments': { 'uri': 'file:/dev/null' } }");

        g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "being saved"));
        qobject_unref(error);
    }
    assert_state(f, DUMP_AVAILABLE);
    cancel_save(f, ended + 1, fd);
}

static Fadump *go_file(const Cell *c, Fadump *src)
{
    g_autofree char *path = g_build_filename(src->dir, "stream", NULL);
    Fadump *dst;

    save_to(src, path);
    if (c->state->dying) {
        make_dying(src, path);
    }
    dst = load_with(&c->m, path, src, "completed", c->way->caps);
    unlink(path);
    return dst;
}

/* There and back, with another life in between */
static Fadump *go_snapshot(const Cell *c, Fadump *f)
{
    assert_hmp(f, "savevm s");
    if (c->state->dying) {
        make_dying(f, c->image);
    }
    if (CONFIG_L(f, state) == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        assert_request(f, RELEASE, OK);
        system_reset(f);
    } else {
        if (CONFIG_L(f, state) == VIRTIO_FADUMP_STATE_IDLE) {
            assert_register(f, OK);
        }
        crash_and_probe(f);
    }
    qtest_memset(f->qts, 16 * MiB, 0x5a, 64 * MiB);
    qtest_memset(f->qts, 2 * B, 0x5a, 64 * MiB);
    /* what is told from here on */
    f->captured = 0;
    assert_hmp(f, "loadvm s");
    return f;
}

static Fadump *go_postcopy(const Cell *c, Fadump *src)
{
    Fadump *dst = start_postcopy(&c->m, src, c->way->caps);

    finish_postcopy(src, dst);
    return dst;
}

static const Way ways[] = {
    { "precopy", .go = go_file },
    { "mapped-ram", { "multifd", "mapped-ram" }, .go = go_file },
    { "ignore-shared", { "x-ignore-shared" }, .shared_ram = true,
      .go = go_file },
    { "background", .src_caps = { "background-snapshot" }, .go = go_file },
    { "snapshot", .snapshot = true, .go = go_snapshot },
    { "postcopy", { "postcopy-ram" }, .postcopy = true, .go = go_postcopy },
};

/* ------------------------------------------------------------------ */
/* The matrix                                                         */

static bool make_machine(Cell *c)
{
    g_autofree char *disk = NULL, *backend = NULL;

    if (c->way->snapshot) {
        disk = snapshot_disk(&c->image);
        if (!disk) {
            return false;
        }
    }
    if (c->way->shared_ram) {
        backend = shared_ram("384M", &c->ram);
    }
    c->m = (Machine) {
        c->state->name,
        g_strdup_printf("-M q35 -m 384M -smp 2%s%s -device fadump-dev,"
                        "boot-mem=128M%s", backend ?: "", disk ?: "",
                        c->state->props),
        { { 0, RAM } }, { { 0, B } },
    };
    return true;
}

static void check_arrived(const Cell *c, Fadump *f, const GByteArray *desc)
{
    if (desc) {
        g_autoptr(GByteArray) now = NULL;
        int core;

        assert_state(f, DUMP_AVAILABLE);
        check_confinement(f, true);
        now = read_descriptor(f);
        g_assert_cmpmem(now->data, now->len, desc->data, desc->len);
        core = save_core(f);
        assert_same_core(core, c->core);
        close(core);
        check_release(f);
        return;
    }
    if (c->state->dying) {
        wait_count(f, &f->captured, 1, "panic");
    } else if (c->state->enter == enter_registered) {
        assert_state(f, REGISTERED);
        check_confinement(f, false);
        crash_and_probe(f);
    } else {
        assert_state(f, IDLE);
        probe_features(f, ALL_FEATURES);
        assert_unharmed(f);
        return;
    }
    check_whole_dump(f);
    check_release(f);
}

static void free_machine(Cell *c)
{
    if (c->image) {
        unlink(c->image);
        g_free(c->image);
    }
    if (c->way->shared_ram) {
        close(c->ram);
    }
    g_free((char *)c->m.opts);
}

static void test_cell(const void *opaque)
{
    Cell c = *(const Cell *)opaque;
    g_autoptr(GByteArray) desc = NULL;
    Fadump *src, *dst;

    if (!make_machine(&c)) {
        return;
    }
    src = start(&c.m, "");
    probe_features(src, ALL_FEATURES);
    fill_ram(src);
    c.state->enter(src);
    if (CONFIG_L(src, state) == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE) {
        desc = read_descriptor(src);
        c.core = save_core(src);
    }
    if (c.state->method) {
        check_method(desc, DISCARDED, c.state->method);
        check_whole_core(src, c.core);
    }
    use_capabilities(src, c.way->caps);
    use_capabilities(src, c.way->src_caps);
    if (c.state->read) {
        assert_refused(&c, src);
    }
    dst = c.way->go(&c, src);
    check_arrived(&c, dst, desc);
    if (dst != src) {
        stop(dst);
    }
    stop(src);
    if (desc) {
        close(c.core);
    }
    free_machine(&c);
}

void fadump_add_migrate_matrix_tests(void)
{
    static Cell cells[ARRAY_SIZE(ways) * ARRAY_SIZE(states)];
    size_t i, j, n = 0;

    for (i = 0; i < ARRAY_SIZE(ways); i++) {
        for (j = 0; j < ARRAY_SIZE(states); j++) {
            g_autofree char *path = g_strdup_printf("fadump/matrix/%s/%s",
                                                    ways[i].name,
                                                    states[j].name);

            /* no stream of a postcopy can be changed on its way */
            if ((ways[i].postcopy && states[j].dying) ||
                /* only private memory can be moved */
                (ways[i].shared_ram &&
                 states[j].method == VIRTIO_FADUMP_METHOD_MOVED)) {
                continue;
            }
            cells[n] = (Cell) { &ways[i], &states[j] };
            qtest_add_data_func(path, &cells[n++], test_cell);
        }
    }
}
