/*
 * Firmware-assisted dump: capturing a machine at the head of its reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Architecture-neutral: registers come from the writers behind
 * dump-guest-memory, the RAM map from the memory API.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "elf.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/misc/fadump-desc.h"
#include "hw/misc/fadump-dev.h"
#include "hw/misc/fadump-hold.h"
#include "hw/misc/fadump-ram.h"
#include "system/dump.h"
#include "system/memory_mapping.h"
#include "trace.h"

/* Collects the output of the note writers, which call back with a DumpState. */
typedef struct NoteWriter {
    DumpState dump;
    GByteArray *notes;
} NoteWriter;

uint64_t fadump_capture_desc_max(void)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    uint64_t notes;

    /* The 64-bit notes are the larger ones wherever there are two kinds. */
    notes = cpu_get_note_size(ELFCLASS64, EM_NONE, ms->smp.max_cpus);
    return fadump_desc_size_max(ms->smp.max_cpus,
                                notes + VIRTIO_FADUMP_VMCOREINFO_MAX +
                                VIRTIO_FADUMP_CRASH_NOTE_MAX);
}

static int write_note(const void *buf, size_t size, void *opaque)
{
    NoteWriter *w = container_of(opaque, NoteWriter, dump);

    g_byte_array_append(w->notes, buf, size);
    return 0;
}

/*
 * The ELF class may depend on how high RAM reaches. guest_phys_blocks_append()
 * would count what devices map too, the shared memory region among it.
 */
static void ram_blocks(GuestPhysBlockList *blocks)
{
    g_autoptr(GArray) runs = fadump_ram_runs(NULL);
    guint i;

    for (i = 0; runs && i < runs->len; i++) {
        const FadumpRange *r = &g_array_index(runs, FadumpRamRun, i).range;
        GuestPhysBlock *block = g_new0(GuestPhysBlock, 1);

        block->target_start = r->base;
        block->target_end = r->base + r->size;
        QTAILQ_INSERT_TAIL(&blocks->head, block, next);
        blocks->num++;
    }
}

/*
 * Whether the operating system's registers are not to be had: the vCPU that met
 * a CPU fault may be in the state of a reset, in which the accelerator put it
 * before we could look (KVM on AMD processors); others may run firmware whose
 * registers are no operating system's to see.
 */
static bool is_vcpu_lost(const VirtIOFadump *s, uint32_t cause,
                         uint32_t crash_cpu_index, CPUState *cpu)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);

    switch (fcc->vcpu_runs(s->confiner, cpu)) {
    case FADUMP_VCPU_HIDDEN:
        return true;
    case FADUMP_VCPU_RESET:
        return cause == VIRTIO_FADUMP_CAUSE_CPU_FAULT &&
               cpu->cpu_index == crash_cpu_index;
    default:
        return false;
    }
}

/* Zero what each of the notes from @start to @end says. */
static void blank_notes(GByteArray *notes, guint start, guint end)
{
    while (start < end) {
        uint8_t *note = notes->data + start;
        size_t size = fadump_note_size(note, end - start);
        size_t desc = sizeof(Elf64_Nhdr) +
                      ROUND_UP((uint32_t)ldl_le_p(note), 4);

        memset(note + desc, 0, size - desc);
        start += size;
    }
}

/* What has been appended to the notes since they had @start bytes. */
static struct virtio_fadump_part part_since(const GByteArray *notes,
                                            guint start)
{
    struct virtio_fadump_part part = {
        .off = cpu_to_le64(start),
        .size = cpu_to_le64(notes->len - start),
    };

    return part;
}

/* The writers for the class of the crashed kernel's notes. */
static int write_cpu_note(CPUState *cpu, NoteWriter *w)
{
    /* the id of a note is the task's; dump-guest-memory counts from 1 */
    int id = cpu->cpu_index + 1;

    return w->dump.dump_info.d_class == ELFCLASS64 ?
           cpu_write_elf64_note(write_note, cpu, id, &w->dump) :
           cpu_write_elf32_note(write_note, cpu, id, &w->dump);
}

static int write_hv_note(CPUState *cpu, NoteWriter *w)
{
    return w->dump.dump_info.d_class == ELFCLASS64 ?
           cpu_write_elf64_qemunote(write_note, cpu, &w->dump) :
           cpu_write_elf32_qemunote(write_note, cpu, &w->dump);
}

static uint32_t power_flags(const VirtIOFadump *s, CPUState *cpu)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);

    switch (fcc->vcpu_power(s->confiner, cpu)) {
    case FADUMP_VCPU_ON:
        return 0;
    case FADUMP_VCPU_OFF:
        return VIRTIO_FADUMP_VCPU_F_OFF;
    default:
        return VIRTIO_FADUMP_VCPU_F_POWER_UNKNOWN;
    }
}

static bool capture_vcpu(const VirtIOFadump *s, FadumpDesc *desc,
                         NoteWriter *w, CPUState *cpu, bool lost, Error **errp)
{
    uint32_t flags = power_flags(s, cpu);
    struct virtio_fadump_vcpu vcpu = {
        .arch_id = cpu_to_le64(cpu->cc->get_arch_id(cpu)),
    };
    guint start = w->notes->len, hv_start;

    if (write_cpu_note(cpu, w) < 0) {
        error_setg(errp, "cannot write the registers of vCPU %d",
                   cpu->cpu_index);
        return false;
    }
    vcpu.notes = part_since(w->notes, start);
    hv_start = w->notes->len;
    if (write_hv_note(cpu, w) < 0) {
        error_setg(errp, "cannot write the QEMU note of vCPU %d",
                   cpu->cpu_index);
        return false;
    }
    if (w->notes->len > hv_start) {
        vcpu.hv_note = part_since(w->notes, hv_start);
    }
    if (lost) {
        flags |= VIRTIO_FADUMP_VCPU_F_REGS_LOST;
        blank_notes(w->notes, start, hv_start);
        blank_notes(w->notes, hv_start, w->notes->len);
    }
    vcpu.flags = cpu_to_le32(flags);
    g_array_append_val(desc->vcpus, vcpu);
    return true;
}

/* A vCPU's place in the table is not its cpu_index where one was unplugged. */
static bool capture_registers(const VirtIOFadump *s, FadumpDesc *desc,
                              uint32_t crash_cpu_index, Error **errp)
{
    NoteWriter w = { .notes = desc->notes };
    GuestPhysBlockList blocks = {
        .head = QTAILQ_HEAD_INITIALIZER(blocks.head)
    };
    CPUState *cpu;
    int ret;

    CPU_FOREACH(cpu) {
        if (is_vcpu_lost(s, desc->cause, crash_cpu_index, cpu)) {
            FADUMP_CONFINER_GET_CLASS(s->confiner)->assume_mode(s->confiner,
                                                                cpu);
        }
    }
    ram_blocks(&blocks);
    ret = cpu_get_dump_info(&w.dump.dump_info, &blocks);
    guest_phys_blocks_free(&blocks);
    if (ret < 0) {
        error_setg(errp, "the registers of this vCPU type cannot be dumped");
        return false;
    }
    desc->elf_machine = w.dump.dump_info.d_machine;
    if (w.dump.dump_info.d_class == ELFCLASS64) {
        desc->flags |= VIRTIO_FADUMP_DESC_F_ELF64;
    }
    CPU_FOREACH(cpu) {
        if (cpu->cpu_index == crash_cpu_index) {
            desc->crash_cpu = desc->vcpus->len;
        }
        if (!capture_vcpu(s, desc, &w, cpu,
                          is_vcpu_lost(s, desc->cause, crash_cpu_index, cpu),
                          errp)) {
            return false;
        }
    }
    return true;
}

/*
 * The ELF note at @r of guest RAM. The guest may have overwritten it: take it
 * only if it still is one, without what follows it.
 */
static struct virtio_fadump_part capture_note(FadumpDesc *desc,
                                              const FadumpRange *r)
{
    const struct virtio_fadump_part none = { 0 };
    /* RAM has holes, such as VGA's: a read there could change a device */
    MemTxAttrs attrs = { .memory = 1 };
    GByteArray *notes = desc->notes;
    guint start = notes->len;
    size_t size = 0;

    if (!r->size) {
        return none;
    }
    g_byte_array_set_size(notes, start + r->size);
    if (address_space_read(&address_space_memory, r->base, attrs,
                           notes->data + start, r->size) == MEMTX_OK) {
        size = fadump_note_size(notes->data + start, r->size);
    }
    g_byte_array_set_size(notes, start + size);
    if (!size) {
        qemu_log_mask(LOG_GUEST_ERROR, "fadump-dev: no ELF note at 0x%" PRIx64
                      "\n", r->base);
        return none;
    }
    return part_since(notes, start);
}

/* The destination in the guest that @addr of boot memory has, or NULL. */
static const FadumpDest *find_dest(const VirtIOFadump *s, uint64_t addr)
{
    uint32_t i;

    for (i = 0; i < s->nr_dests; i++) {
        if (addr - s->dests[i].src.base < s->dests[i].src.size) {
            return &s->dests[i];
        }
    }
    return NULL;
}

/* Whether boot memory goes to @addr. */
static bool is_dest(const VirtIOFadump *s, uint64_t addr)
{
    uint32_t i;

    for (i = 0; i < s->nr_dests; i++) {
        if (addr - s->dests[i].dst < s->dests[i].src.size) {
            return true;
        }
    }
    return false;
}

static FadumpPlace place_in(const FadumpRamRun *run, uint64_t addr)
{
    const uint8_t *start = memory_region_get_ram_ptr(run->mr);
    FadumpPlace place = {
        .mr = run->mr,
        .off = run->host - start + (addr - run->range.base),
    };

    return place;
}

/* The machine's NUMA node that @addr of RAM is on. */
static uint32_t node_of(const VirtIOFadump *s, uint64_t addr)
{
    uint32_t node = VIRTIO_FADUMP_NODE_NONE;
    guint i;

    for (i = 0; i < s->nodes->len; i++) {
        const FadumpNode *n = &g_array_index(s->nodes, FadumpNode, i);

        if (addr >= n->base) {
            node = n->node;
        }
    }
    return node;
}

/* Set a piece of boot memory aside, and write down where it now lies. */
static bool capture_boot(VirtIOFadump *s, const GArray *runs,
                         const FadumpPiece *p, bool full,
                         struct virtio_fadump_range *range, GArray *done,
                         Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    FadumpPlace src = place_in(fadump_ram_find(runs, p->base), p->base), dst;
    /* with all RAM set aside none of it is a place to go to */
    const FadumpDest *dest = full ? NULL : find_dest(s, p->base);
    bool may_relocate = p->base >= fcc->firmware_end;
    FadumpRange r = { p->base, p->size };
    uint64_t to;
    uint32_t method, where;

    if (dest) {
        const FadumpRamRun *run;

        to = dest->dst + (p->base - dest->src.base);
        run = fadump_ram_find(runs, to);
        if (!run || p->size > run->range.size - (to - run->range.base)) {
            error_setg(errp, "there is no RAM at 0x%" PRIx64 " any more, "
                       "where 0x%" PRIx64 " bytes were to go", to, p->size);
            return false;
        }
        dst = place_in(run, to);
        where = VIRTIO_FADUMP_WHERE_GUEST;
        method = fadump_hold_in_guest(&s->hold, &r, &dst, &src, may_relocate,
                                      done, errp);
    } else {
        where = VIRTIO_FADUMP_WHERE_WINDOW;
        method = fadump_hold(&s->hold, &r, &src, may_relocate, &to, done,
                             errp);
    }
    if (method == VIRTIO_FADUMP_METHOD_NONE) {
        return false;
    }
    range->dest = cpu_to_le64(to);
    range->where = cpu_to_le32(where);
    range->flags = cpu_to_le32(VIRTIO_FADUMP_RANGE_F_BOOT_MEM);
    range->method = cpu_to_le32(method);
    return true;
}

/* Where there are no @runs, firmware keeps it from the operating system. */
static bool capture_piece(VirtIOFadump *s, FadumpDesc *desc,
                          const GArray *runs, const FadumpPiece *p, bool full,
                          GArray *done, Error **errp)
{
    const FadumpRamRun *run = fadump_ram_find(runs, p->base);
    uint32_t node = run && run->hotplug ? run->node : node_of(s, p->base);
    struct virtio_fadump_range range = {
        .addr = cpu_to_le64(p->base),
        .len = cpu_to_le64(p->size),
        .held = cpu_to_le64(p->size),
        .where = cpu_to_le32(VIRTIO_FADUMP_WHERE_IN_PLACE),
        .node = cpu_to_le32(node),
    };

    if (run && run->hotplug) {
        range.flags = cpu_to_le32(VIRTIO_FADUMP_RANGE_F_HOTPLUG);
    }

    if (p->boot && !capture_boot(s, runs, p, full, &range, done, errp)) {
        return false;
    }
    if (!run) {
        range.held = 0;
        range.flags = cpu_to_le32(VIRTIO_FADUMP_RANGE_F_FIRMWARE);
    } else if (!p->boot && !full && is_dest(s, p->base)) {
        range.held = 0;
        range.flags = cpu_to_le32(VIRTIO_FADUMP_RANGE_F_DESTINATION);
    }
    trace_fadump_range(p->base, p->size, le32_to_cpu(range.where),
                       le64_to_cpu(range.dest));
    g_array_append_val(desc->ranges, range);
    return true;
}

/* Cut where destinations, and what goes there, begin and end. */
static void cut_at_dests(const VirtIOFadump *s, const GArray *runs,
                         GArray *cuts)
{
    uint32_t i;
    guint j;

    for (i = 0; i < s->nr_dests; i++) {
        const FadumpDest *d = &s->dests[i];
        uint64_t src_end = d->src.base + d->src.size;
        uint64_t dst_end = d->dst + d->src.size;

        g_array_append_val(cuts, d->src.base);
        g_array_append_val(cuts, src_end);
        g_array_append_val(cuts, d->dst);
        g_array_append_val(cuts, dst_end);
        for (j = 0; j < runs->len; j++) {
            const FadumpRange *r = &g_array_index(runs, FadumpRamRun, j).range;

            if (r->base > d->dst && r->base < dst_end) {
                uint64_t cut = d->src.base + (r->base - d->dst);

                g_array_append_val(cuts, cut);
            }
        }
    }
}

static gint range_cmp(gconstpointer pa, gconstpointer pb)
{
    uint64_t a = ((const FadumpRange *)pa)->base;
    uint64_t b = ((const FadumpRange *)pb)->base;

    return a < b ? -1 : a > b;
}

/*
 * What firmware has of preserved memory: the next boot's has its own in boot
 * memory, and this comes back to the operating system with the rest.
 */
static void append_firmware_ram(const VirtIOFadump *s, const GArray *firmware,
                                GArray *map)
{
    g_autoptr(GArray) pieces = fadump_ranges_split(s->ram_map, s->boot);
    FadumpRange part;
    guint i, j;

    for (i = 0; i < pieces->len; i++) {
        const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);
        FadumpRange preserved = { p->base, p->size };

        for (j = 0; j < firmware->len && !p->boot; j++) {
            if (fadump_range_intersect(&preserved,
                                       &g_array_index(firmware, FadumpRange,
                                                      j), &part)) {
                g_array_append_val(map, part);
            }
        }
    }
    g_array_sort(map, range_cmp);
}

/* RAM as parts of which each lies, and goes, in one piece, on one node. */
static GArray *plan_pieces(const VirtIOFadump *s, const GArray *runs,
                           const GArray *firmware, bool full)
{
    g_autoptr(GArray) map = g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(uint64_t));
    g_autoptr(GArray) pieces = NULL;
    guint i;

    g_array_append_val(cuts,
                       FADUMP_CONFINER_GET_CLASS(s->confiner)->firmware_end);
    for (i = 0; i < s->nodes->len; i++) {
        g_array_append_val(cuts, g_array_index(s->nodes, FadumpNode, i).base);
    }
    for (i = 0; i < runs->len; i++) {
        g_array_append_val(map, g_array_index(runs, FadumpRamRun, i).range);
    }
    if (!full) {
        cut_at_dests(s, runs, cuts);
        append_firmware_ram(s, firmware, map);
    }
    /* not normalized on purpose: runs that touch may differ in host memory */
    pieces = fadump_ranges_split(map, full ? s->ram_map : s->boot);
    return fadump_pieces_cut(pieces, cuts);
}

/* Set boot memory aside, and write down where each part of RAM now lies. */
static bool capture_memory(VirtIOFadump *s, FadumpDesc *desc, bool full,
                           GArray *done, Error **errp)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_GET_CLASS(s->confiner);
    g_autoptr(GArray) runs = fadump_ram_runs(errp);
    g_autoptr(GArray) firmware = fcc->firmware_ram ?
                                 fcc->firmware_ram(s->confiner) :
                                 g_array_new(false, false, sizeof(FadumpRange));
    g_autoptr(GArray) pieces = NULL;
    guint i;

    if (!runs) {
        return false;
    }
    fadump_ram_exclude(runs, firmware);
    pieces = plan_pieces(s, runs, firmware, full);
    if (pieces->len > FADUMP_MAX_RANGES) {
        error_setg(errp, "guest RAM has %u ranges, at most %u can be described",
                   pieces->len, FADUMP_MAX_RANGES);
        return false;
    }
    for (i = 0; i < pieces->len; i++) {
        if (!capture_piece(s, desc, runs,
                           &g_array_index(pieces, FadumpPiece, i), full, done,
                           errp)) {
            goto undo;
        }
    }
    if (!fadump_hold_commit(&s->hold, errp)) {
        goto undo;
    }
    desc->boot_mem = fadump_ranges_size(full ? s->ram_map : s->boot);
    return true;

undo:
    fadump_hold_undo(&s->hold, done);
    g_array_set_size(desc->ranges, 0);
    return false;
}

/* All of RAM if that is wanted and there is room for it, else boot memory. */
static bool capture_all_memory(VirtIOFadump *s, FadumpDesc *desc, bool *full,
                               char **full_error, GArray *done, Error **errp)
{
    Error *err = NULL;

    if (!*full || capture_memory(s, desc, true, done, &err)) {
        return *full || capture_memory(s, desc, false, done, errp);
    }
    *full = false;
    *full_error = g_strdup(error_get_pretty(err));
    warn_reportf_err(err, "fadump-dev: not all memory can be set aside, the "
                     "next boot is confined to boot memory: ");
    return capture_memory(s, desc, false, done, errp);
}

bool fadump_capture(VirtIOFadump *s, uint32_t cause, uint32_t crash_cpu,
                    bool *full, char **full_error, Error **errp)
{
    g_autoptr(GArray) done = g_array_new(false, false, sizeof(FadumpHeld));
    int64_t start = get_clock();
    FadumpDesc desc;
    uint64_t size;
    bool ok = false;

    fadump_desc_init(&desc);
    qemu_uuid_generate(&desc.id);
    desc.cause = cause;
    desc.time_ns = qemu_clock_get_ns(QEMU_CLOCK_HOST);

    fadump_hold_begin(&s->hold);
    if (!capture_registers(s, &desc, crash_cpu, errp)) {
        goto out;
    }
    desc.vmcoreinfo = capture_note(&desc, &s->vmcoreinfo);
    if (cause == VIRTIO_FADUMP_CAUSE_PANIC) {
        desc.crash_note = capture_note(&desc, &s->crash_note);
    }
    if (!capture_all_memory(s, &desc, full, full_error, done, errp)) {
        goto out;
    }

    size = fadump_desc_size(&desc);
    if (size > s->hold.desc_size) {
        error_setg(errp, "the descriptor needs %" PRIu64 " bytes, there are %"
                   PRIu64, size, s->hold.desc_size);
        fadump_hold_undo(&s->hold, done);
        goto out;
    }
    desc.capture_ns = get_clock() - start;
    fadump_desc_write(&desc, fadump_hold_desc(&s->hold));
    memory_region_set_dirty(&s->hold.desc, 0, size);
    s->desc_size = size;
    s->dump_id = desc.id;
    trace_fadump_captured(cause, desc.vcpus->len, desc.ranges->len,
                          desc.boot_mem, desc.capture_ns);
    ok = true;
out:
    fadump_hold_end(&s->hold, done);
    fadump_desc_destroy(&desc);
    return ok;
}
