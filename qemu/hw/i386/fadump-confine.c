/*
 * Firmware-assisted dump: confining a PC's next boot to boot memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Firmware, bootloader and kernel learn of RAM through etc/e820, CMOS and the
 * SRAT. A confined boot finds boot memory there and nothing else that is
 * usable: preserved ranges are reserved. RAM itself stays mapped.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#ifdef CONFIG_KVM
#include <linux/kvm.h>
#endif
#include "hw/acpi/acpi_dev_interface.h"
#include "hw/boards.h"
#include "hw/i386/apic_internal.h"
#include "hw/i386/fadump-confine.h"
#include "hw/i386/fw_cfg.h"
#include "hw/i386/pc.h"
#include "hw/misc/fadump-confiner.h"
#include "hw/misc/fadump-range.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci-host/q35.h"
#include "system/kvm.h"
#include "acpi-build.h"
#include "e820_memory_layout.h"
#include "target/i386/cpu.h"
#include "trace.h"

/*
 * What Linux hot-adds depends on where the RAM of its boot ends: 128 MiB below
 * 64 GiB, from there on the largest size up to 2 GiB that this end is a
 * multiple of. Boot memory of a guest with so much RAM may end there, and then
 * nothing smaller than 2 GiB would come back.
 */
#define MEMORY_BLOCK_SIZE (128 * MiB)
#define LARGE_MEMORY_BLOCK_SIZE (2 * GiB)
#define LARGE_MEMORY (64 * GiB)

/*
 * Firmware puts the 32-bit PCI window above the RAM that it sees: SeaBIOS at
 * 2 GiB if that ends below. RAM that really ends above 2 GiB would shadow the
 * window, so the last of it must be boot memory.
 */
#define LOW_RAM_LIMIT (2 * GiB)

/*
 * After a warm reset SeaBIOS starts from its copy in shadow RAM, and resets
 * once more.
 */
#define FIRMWARE_END (1 * MiB)

/* Where q35 can show the RAM behind VGA memory, too */
#define HIGH_SMRAM_BASE 0xfeda0000

/* What a boot needs of low RAM besides TSEG */
#define BESIDES_TSEG (64 * MiB)

/* The chipset, if it has TSEG */
static MCHPCIState *find_mch(void)
{
    Q35PCIHost *q35 = (Q35PCIHost *)
        object_dynamic_cast(acpi_get_i386_pci_host(), TYPE_Q35_HOST_DEVICE);

    return q35 && q35->mch.has_smm_ranges ? &q35->mch : NULL;
}

static GArray *pc_fadump_ram_map(FadumpConfiner *c)
{
    X86MachineState *x86ms = X86_MACHINE(c);
    GArray *map = g_array_new(false, false, sizeof(FadumpRange));
    FadumpRange low = { 0, x86ms->below_4g_mem_size };
    FadumpRange high = { x86ms->above_4g_mem_start, x86ms->above_4g_mem_size };

    g_array_append_val(map, low);
    if (high.size) {
        g_array_append_val(map, high);
    }
    return map;
}

static uint64_t ram_end(const X86MachineState *x86ms)
{
    return x86ms->above_4g_mem_size ?
           x86ms->above_4g_mem_start + x86ms->above_4g_mem_size :
           x86ms->below_4g_mem_size;
}

/* The end of all addresses that may have RAM, plugged or not. */
static uint64_t memory_end(const X86MachineState *x86ms)
{
    DeviceMemoryState *dms = MACHINE(x86ms)->device_memory;

    return dms ? dms->base + memory_region_size(&dms->mr) : ram_end(x86ms);
}

static uint64_t pc_fadump_block_size(FadumpConfiner *c)
{
    return ram_end(X86_MACHINE(c)) < LARGE_MEMORY ? MEMORY_BLOCK_SIZE
                                                  : LARGE_MEMORY_BLOCK_SIZE;
}

/* The last range of @boot below 4 GiB */
static guint last_low(const GArray *boot)
{
    guint i = boot->len;

    while (i > 1 && g_array_index(boot, FadumpRange, i - 1).base >= 4 * GiB) {
        i--;
    }
    return i - 1;
}

/* Firmware takes TSEG from the end of it. */
static uint64_t low_end(const GArray *boot)
{
    const FadumpRange *r = &g_array_index(boot, FadumpRange, last_low(boot));

    return r->base + r->size;
}

static GArray *pc_fadump_boot_ranges(FadumpConfiner *c, uint64_t size)
{
    g_autoptr(GArray) map = pc_fadump_ram_map(c);
    uint64_t block = pc_fadump_block_size(c), tseg, start, add;
    MCHPCIState *mch = find_mch();
    GArray *boot;
    guint last;
    FadumpRange *r;

    if (!mch) {
        return fadump_boot_ranges(map, size, block, LOW_RAM_LIMIT);
    }
    tseg = mch_tseg_max(mch);
    boot = fadump_boot_ranges(map, MAX(size, ROUND_UP(tseg + BESIDES_TSEG,
                                                      block)),
                              block, LOW_RAM_LIMIT);
    /* what ends RAM may be less than a block, and must have all of TSEG */
    last = last_low(boot);
    r = &g_array_index(boot, FadumpRange, last);
    if (last && r->size < tseg) {
        start = r[-1].base + r[-1].size;
        add = MIN(r->base - start, ROUND_UP(tseg - r->size, block));
        r->base -= add;
        r->size += add;
        fadump_ranges_normalize(boot);
    }
    return boot;
}

static void *reserved_end_file(uint64_t end)
{
    uint64_t *val = g_new(uint64_t, 1);

    *val = cpu_to_le64(ROUND_UP(end, 1 * GiB));
    return val;
}

static bool pc_fadump_prepare(FadumpConfiner *c, Error **errp)
{
    PCMachineState *pcms = PC_MACHINE(c);
    X86MachineState *x86ms = X86_MACHINE(c);
    MCHPCIState *mch = find_mch();

    if (!x86ms->fw_cfg || pcms->cxl_devices_state.is_enabled ||
        pcms->sgx_epc.size) {
        error_setg(errp, "fadump-dev cannot confine a machine with CXL, SGX "
                   "EPC or without fw_cfg");
        return false;
    }
    if (mch) {
        mch_allow_tseg_move(mch);
    }

    /*
     * Keeps the 64-bit PCI window off RAM that a confined boot is not told
     * of. It is where the window starts anyway when all RAM is seen, and with
     * memory hotplug the machine itself has said so.
     */
    if (!MACHINE(c)->device_memory) {
        fw_cfg_add_file(x86ms->fw_cfg, "etc/reserved-memory-end",
                        reserved_end_file(MAX(ram_end(x86ms), 4 * GiB)),
                        sizeof(uint64_t));
    }
    return true;
}

/* Bytes of the 64-bit PCI window, which lies behind ours. */
static uint64_t pci_hole64_size(const X86CPU *cpu)
{
    Object *host = acpi_get_i386_pci_host();

    if (!host || !(cpu->env.features[FEAT_8000_0001_EDX] & CPUID_EXT2_LM)) {
        return 0;
    }
    return object_property_get_uint(host, PCI_HOST_PROP_PCI_HOLE64_SIZE,
                                    &error_abort);
}

/* Where a window of @size bytes lies, and @end, behind it; false: no room. */
static bool window_place(const PCMachineState *pcms, uint64_t size,
                         uint64_t *base, uint64_t *end)
{
    const X86CPU *cpu = X86_CPU(first_cpu);
    uint64_t hole64 = pci_hole64_size(cpu), limit = 1ULL << cpu->phys_bits;

    /* right above RAM: whoever maps RAM write-back maps that so, too */
    *base = MAX(ROUND_UP(memory_end(X86_MACHINE(pcms)), 1 * GiB), 4 * GiB);
    /* as pc_memory_init() does for RAM */
    if (IS_AMD_CPU(&cpu->env) &&
        PC_MACHINE_GET_CLASS(pcms)->enforce_amd_1tb_hole &&
        *base < AMD_ABOVE_1TB_START &&
        size + hole64 > AMD_HT_START - MIN(*base, AMD_HT_START)) {
        *base = AMD_ABOVE_1TB_START;
    }
    if (*base > limit || size > limit - *base) {
        return false;
    }
    *end = ROUND_UP(*base + size, 1 * GiB);
    return *end <= limit && hole64 <= limit - *end;
}

static uint64_t pc_fadump_window_base(FadumpConfiner *c, uint64_t size,
                                      Error **errp)
{
    PCMachineState *pcms = PC_MACHINE(c);
    X86MachineState *x86ms = X86_MACHINE(c);
    const X86CPU *cpu = X86_CPU(first_cpu);
    uint64_t base, end;

    if (!window_place(pcms, size, &base, &end)) {
        error_setg(errp, "the window of %" PRIu64 " MiB in which the dump is "
                   "shown does not fit, with RAM below it and %" PRIu64 " MiB "
                   "of PCI memory above it, the %" PRIu32 " bits of the vCPUs' "
                   "physical addresses; use -cpu ...,phys-bits=N with a larger "
                   "N, host-phys-bits=on, or less boot-mem-max",
                   size / MiB, pci_hole64_size(cpu) / MiB, cpu->phys_bits);
        return 0;
    }
    pcms->fadump_window_end = end;
    g_free(fw_cfg_modify_file(x86ms->fw_cfg, "etc/reserved-memory-end",
                              reserved_end_file(end), sizeof(uint64_t)));
    return base;
}

/* In steps of 1 GiB, for that is what its end is rounded to. */
static uint64_t pc_fadump_window_room(FadumpConfiner *c)
{
    PCMachineState *pcms = PC_MACHINE(c);
    uint64_t fits = 0, too_large = 1ULL << X86_CPU(first_cpu)->phys_bits;
    uint64_t base, end;

    while (too_large - fits > 1 * GiB) {
        uint64_t size = ROUND_DOWN(fits + (too_large - fits) / 2, 1 * GiB);

        size = MAX(size, fits + 1 * GiB);
        if (window_place(pcms, size, &base, &end)) {
            fits = size;
        } else {
            too_large = size;
        }
    }
    return fits;
}

static void e820_append(GArray *table, uint64_t base, uint64_t size,
                        uint32_t type)
{
    struct e820_entry entry = {
        .address = cpu_to_le64(base),
        .length = cpu_to_le64(size),
        .type = cpu_to_le32(type),
    };

    trace_fadump_e820(base, size, type);
    g_array_append_val(table, entry);
}

/* etc/e820 with the machine's RAM replaced by @pieces. */
static void publish_e820(X86MachineState *x86ms, const GArray *pieces)
{
    GArray *table = g_array_new(false, false, sizeof(struct e820_entry));
    struct e820_entry *orig;
    int i, n = e820_get_table(&orig);
    size_t len;
    void *old;

    for (i = 0; i < pieces->len; i++) {
        const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);

        e820_append(table, p->base, p->size,
                    p->boot ? E820_RAM : E820_RESERVED);
    }
    for (i = 0; i < n; i++) {
        if (orig[i].type != cpu_to_le32(E820_RAM)) {
            g_array_append_val(table, orig[i]);
        }
    }
    len = table->len * sizeof(struct e820_entry);
    old = fw_cfg_modify_file(x86ms->fw_cfg, "etc/e820",
                             g_array_free(table, false), len);
    /* the first one is the machine's own table */
    if (old != orig) {
        g_free(old);
    }
}

/*
 * QEMU put the initrd of a -kernel boot below the end of low RAM. linuxboot
 * finds a place of its own, PVH takes this one. The highest boot memory that
 * all kernels can take is right for ordinary boots too, so it stays there.
 */
static void move_initrd(X86MachineState *x86ms, const GArray *boot)
{
    const uint64_t initrd_max = 0x37ffffff;
    uint64_t size, addr = 0;
    guint i;

    if (!x86ms->initrd_mapped_file) {
        return;
    }
    size = g_mapped_file_get_length(x86ms->initrd_mapped_file);
    for (i = 0; i < boot->len; i++) {
        const FadumpRange *b = &g_array_index(boot, FadumpRange, i);
        uint64_t end = MIN(b->base + b->size, initrd_max);

        if (end > b->base && end - b->base > size + PC_FW_DATA) {
            addr = end - PC_FW_DATA - size;
        }
    }
    if (addr) {
        fw_cfg_modify_i32(x86ms->fw_cfg, FW_CFG_INITRD_ADDR, addr & ~4095);
    }
}

static void pc_fadump_publish(FadumpConfiner *c, const GArray *boot)
{
    PCMachineState *pcms = PC_MACHINE(c);
    X86MachineState *x86ms = X86_MACHINE(c);
    g_autoptr(GArray) map = pc_fadump_ram_map(c);
    g_autoptr(GArray) pieces = fadump_ranges_split(map, boot);
    MCHPCIState *mch = find_mch();
    uint64_t high = 0;
    guint i;

    for (i = 0; i < pieces->len; i++) {
        const FadumpPiece *p = &g_array_index(pieces, FadumpPiece, i);

        if (p->boot && p->base >= 4 * GiB) {
            high = p->base + p->size - x86ms->above_4g_mem_start;
        }
    }
    publish_e820(x86ms, pieces);
    pc_cmos_set_ram_size(pcms, low_end(boot), high);
    fw_cfg_modify_i64(x86ms->fw_cfg, FW_CFG_RAM_SIZE,
                      fadump_ranges_size(boot));
    move_initrd(x86ms, boot);
    if (mch) {
        mch_set_tseg_end(mch, low_end(boot));
    }
}

static void pc_fadump_confine(FadumpConfiner *c, const GArray *boot)
{
    PCMachineState *pcms = PC_MACHINE(c);

    pc_fadump_publish(c, boot);
    g_clear_pointer(&pcms->fadump_boot, g_array_unref);
    pcms->fadump_boot = g_array_copy((GArray *)boot);
}

static void pc_fadump_lift(FadumpConfiner *c)
{
    PCMachineState *pcms = PC_MACHINE(c);
    g_autoptr(GArray) map = pc_fadump_ram_map(c);

    if (!pcms->fadump_boot) {
        return;
    }
    pc_fadump_publish(c, map);
    g_clear_pointer(&pcms->fadump_boot, g_array_unref);
}

static void pc_fadump_hide_dimms(FadumpConfiner *c, bool hide)
{
    HotplugHandler *acpi_dev = X86_MACHINE(c)->acpi_dev;

    if (acpi_dev) {
        ACPI_DEVICE_IF_GET_CLASS(acpi_dev)->hide_memory(
            ACPI_DEVICE_IF(acpi_dev), hide);
    }
}

static void append_range(GArray *ranges, uint64_t base, uint64_t size)
{
    FadumpRange r = { base, size };

    g_array_append_val(ranges, r);
}

/*
 * SMRAM. The RAM behind VGA memory is no operating system's even where nothing
 * is in it, and firmware can show it at another address as well.
 */
static GArray *pc_fadump_firmware_ram(FadumpConfiner *c)
{
    GArray *ram = g_array_new(false, false, sizeof(FadumpRange));
    MCHPCIState *mch = find_mch();
    uint64_t tseg;

    append_range(ram, SMRAM_C_BASE, SMRAM_C_SIZE);
    if (!mch) {
        return ram;
    }
    append_range(ram, HIGH_SMRAM_BASE, SMRAM_C_SIZE);
    if (mch->has_smram_at_smbase &&
        PCI_DEVICE(mch)->config[MCH_HOST_BRIDGE_F_SMBASE]) {
        append_range(ram, MCH_HOST_BRIDGE_SMBASE_ADDR,
                     MCH_HOST_BRIDGE_SMBASE_SIZE);
    }
    /* however large somebody has made it, it does not reach so low */
    tseg = MIN(mch->tseg_used, mch->tseg_end - FIRMWARE_END);
    if (tseg) {
        append_range(ram, mch->tseg_end - tseg, tseg);
    }
    fadump_ranges_normalize(ram);
    return ram;
}

/* Of all SMRAM only TSEG depends on how much RAM there is. */
static void pc_fadump_clear_firmware_ram(FadumpConfiner *c, bool next)
{
    MCHPCIState *mch = find_mch();

    if (mch) {
        mch_clear_tseg(mch, next ? mch_tseg_max(mch) : mch->tseg_used);
    }
}

static MemoryRegion *pc_fadump_ram_view(FadumpConfiner *c)
{
    MCHPCIState *mch = find_mch();

    return mch ? &mch->tseg_ram : NULL;
}

/*
 * Firmware and bootloaders run without paging, or, UEFI's, where linear
 * addresses are physical ones. Kernels run in the upper half of the address
 * space, the processes of theirs at privilege level 3.
 */
static FadumpVcpuRuns pc_fadump_vcpu_runs(FadumpConfiner *c, CPUState *cpu)
{
    const uint32_t upper_half_32 = 0x80000000, flash_32 = 0xff000000;
    CPUX86State *env = cpu_env(cpu);
    bool os;

    if (env->hflags & HF_SMM_MASK) {
        return FADUMP_VCPU_HIDDEN;
    }
    if (!(env->cr[0] & CR0_PE_MASK) && env->segs[R_CS].base == 0xffff0000 &&
        env->eip == 0xfff0) {
        return FADUMP_VCPU_RESET;
    }
    if (!(env->cr[0] & CR0_PG_MASK)) {
        return FADUMP_VCPU_FIRMWARE;
    }
    if ((env->hflags & HF_CPL_MASK) == 3) {
        os = true;
    } else if (env->efer & MSR_EFER_LMA) {
        os = env->eip >> 63;
    } else {
        os = env->eip >= upper_half_32 && env->eip < flash_32;
    }
    return os ? FADUMP_VCPU_OS : FADUMP_VCPU_FIRMWARE;
}

/* An AP is off until the first SIPI after power-on or an INIT. */
static FadumpVcpuPower pc_fadump_vcpu_power(FadumpConfiner *c, CPUState *cpu)
{
    X86CPU *x86_cpu = X86_CPU(cpu);
    bool waits = false;

#ifdef CONFIG_KVM
    if (kvm_enabled() && kvm_irqchip_in_kernel()) {
        waits = x86_cpu->env.mp_state == KVM_MP_STATE_UNINITIALIZED ||
                x86_cpu->env.mp_state == KVM_MP_STATE_INIT_RECEIVED;
        return waits ? FADUMP_VCPU_OFF : FADUMP_VCPU_ON;
    }
#endif
    if (x86_cpu->apic_state) {
        waits = APIC_COMMON(x86_cpu->apic_state)->wait_for_sipi;
    }
    return waits && cpu->halted ? FADUMP_VCPU_OFF : FADUMP_VCPU_ON;
}

static void pc_fadump_assume_mode(FadumpConfiner *c, CPUState *cpu)
{
    CPUX86State *env = cpu_env(cpu);

    if (env->features[FEAT_8000_0001_EDX] & CPUID_EXT2_LM) {
        env->hflags |= HF_LMA_MASK;
    }
}

bool pc_fadump_srat_needed(PCMachineState *pcms)
{
    /*
     * Linux sizes its bounce buffers by the memory that it may come to have:
     * a device with 32-bit DMA fails without them once memory above 4 GiB is
     * back. An ordinary boot of this machine has them as well.
     */
    return pcms->fadump_boot && X86_MACHINE(pcms)->above_4g_mem_size;
}

GArray *pc_fadump_split(PCMachineState *pcms, uint64_t base, uint64_t size)
{
    g_autoptr(GArray) map = g_array_new(false, false, sizeof(FadumpRange));
    FadumpRange r = { base, size };

    g_array_append_val(map, r);
    return fadump_ranges_split(map, pcms->fadump_boot);
}

void pc_fadump_class_init(ObjectClass *oc)
{
    FadumpConfinerClass *fcc = FADUMP_CONFINER_CLASS(oc);

    fcc->firmware_end = FIRMWARE_END;
    fcc->ram_map = pc_fadump_ram_map;
    fcc->block_size = pc_fadump_block_size;
    fcc->boot_ranges = pc_fadump_boot_ranges;
    fcc->prepare = pc_fadump_prepare;
    fcc->window_base = pc_fadump_window_base;
    fcc->window_room = pc_fadump_window_room;
    fcc->confine = pc_fadump_confine;
    fcc->lift = pc_fadump_lift;
    fcc->hide_dimms = pc_fadump_hide_dimms;
    fcc->firmware_ram = pc_fadump_firmware_ram;
    fcc->clear_firmware_ram = pc_fadump_clear_firmware_ram;
    fcc->ram_view = pc_fadump_ram_view;
    fcc->vcpu_runs = pc_fadump_vcpu_runs;
    fcc->vcpu_power = pc_fadump_vcpu_power;
    fcc->assume_mode = pc_fadump_assume_mode;
}
