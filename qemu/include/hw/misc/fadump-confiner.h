/*
 * What firmware-assisted dump needs of a machine type
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine type that can boot confined to boot memory implements this
 * interface. All of it runs under the BQL.
 */
#ifndef HW_MISC_FADUMP_CONFINER_H
#define HW_MISC_FADUMP_CONFINER_H

#include "exec/memory.h"
#include "hw/core/cpu.h"
#include "qom/object.h"

#define TYPE_FADUMP_CONFINER "fadump-confiner"

typedef struct FadumpConfinerClass FadumpConfinerClass;
DECLARE_CLASS_CHECKERS(FadumpConfinerClass, FADUMP_CONFINER,
                       TYPE_FADUMP_CONFINER)
#define FADUMP_CONFINER(obj) \
    INTERFACE_CHECK(FadumpConfiner, (obj), TYPE_FADUMP_CONFINER)

typedef struct FadumpConfiner FadumpConfiner;

/* What a vCPU runs, as far as its registers tell. */
typedef enum FadumpVcpuRuns {
    /* it is where a reset or INIT puts it */
    FADUMP_VCPU_RESET,
    /* firmware, a bootloader, or a kernel in its first steps */
    FADUMP_VCPU_FIRMWARE,
    /* an operating system: its kernel or one of its processes */
    FADUMP_VCPU_OS,
    /* firmware that no operating system may look into (x86: SMM) */
    FADUMP_VCPU_HIDDEN,
} FadumpVcpuRuns;

/* Whether a vCPU runs, or would. */
typedef enum FadumpVcpuPower {
    FADUMP_VCPU_ON,
    /* it was powered off, or nothing has started it */
    FADUMP_VCPU_OFF,
    FADUMP_VCPU_POWER_UNKNOWN,
} FadumpVcpuPower;

struct FadumpConfinerClass {
    InterfaceClass parent_class;

    /*
     * Firmware that runs again after a reset finds what it left in RAM below
     * this address, so that content is copied and stays.
     */
    uint64_t firmware_end;

    /*
     * The system RAM as firmware is told of it in an ordinary boot, a
     * normalized array of FadumpRange. The caller frees.
     */
    GArray *(*ram_map)(FadumpConfiner *c);

    /*
     * What a guest of this machine hot-adds at least, a power of two:
     * preserved memory begins and ends at multiples of it.
     */
    uint64_t (*block_size)(FadumpConfiner *c);

    /*
     * The boot memory that this machine needs if @size bytes of it, a multiple
     * of the block size or all RAM, are asked for: a normalized array of
     * FadumpRange, which the caller frees. The same for the same @size always;
     * that of a smaller @size lies in it.
     */
    GArray *(*boot_ranges)(FadumpConfiner *c, uint64_t size);

    /*
     * Called once, when the device is realized. False with @errp set, message
     * and cure, if no boot of this machine can be confined.
     */
    bool (*prepare)(FadumpConfiner *c, Error **errp);

    /*
     * Called once, after prepare(), and NULL where a machine's map has no such
     * place: where in guest-physical address space a window of @size bytes can
     * lie, a multiple of 1 GiB. Firmware and device windows keep off from now
     * on. 0 with @errp set, message and cure, if there is no room.
     */
    uint64_t (*window_base)(FadumpConfiner *c, uint64_t size, Error **errp);

    /*
     * Where there is window_base(), and NULL else: bytes of the largest window
     * for which that gives a place. It is the same on every host.
     */
    uint64_t (*window_room)(FadumpConfiner *c);

    /*
     * From now on firmware, bootloader and kernel are told of no RAM but
     * @boot, a normalized array of FadumpRange, over any number
     * of resets until lift(). Called at the head of a reset, before any device
     * is reset, or when the machine's state has been loaded.
     */
    void (*confine)(FadumpConfiner *c, const GArray *boot);

    /*
     * They are told of all RAM again. Called when confine() is, and not before:
     * firmware that wakes the machine up must find what it found when it
     * booted.
     */
    void (*lift)(FadumpConfiner *c);

    /*
     * DIMMs that are plugged now stay, out of the guest's sight, over any
     * number of resets, until false says that they are plugged anew, at once.
     * NULL where a machine has none. It migrates.
     */
    void (*hide_dimms)(FadumpConfiner *c, bool hide);

    /*
     * RAM that firmware keeps from the operating system, or has kept since the
     * last reset, a normalized array of FadumpRange, which the caller frees.
     * It is in no dump. NULL where there is none.
     */
    GArray *(*firmware_ram)(FadumpConfiner *c);

    /*
     * At the head of a reset, where there is firmware_ram(): zero what of it
     * does not lie at the same place whatever RAM firmware is told of; what
     * there has been since the last reset, or, with @next, what there can be
     * after this one.
     */
    void (*clear_firmware_ram)(FadumpConfiner *c, bool next);

    /*
     * Shows RAM at its guest-physical address apart from system memory, and so
     * has to show what stands in for it as well; NULL where nothing does.
     */
    MemoryRegion *(*ram_view)(FadumpConfiner *c);

    /* What @cpu, stopped and synchronized, runs. */
    FadumpVcpuRuns (*vcpu_runs)(FadumpConfiner *c, CPUState *cpu);

    /* What @cpu, stopped and synchronized, was before. */
    FadumpVcpuPower (*vcpu_power)(FadumpConfiner *c, CPUState *cpu);

    /*
     * The registers of @cpu are lost, and it is about to be reset. Give it the
     * execution mode of the machine's kernels: the note writers go by that of
     * the first vCPU.
     */
    void (*assume_mode)(FadumpConfiner *c, CPUState *cpu);
};

#endif /* HW_MISC_FADUMP_CONFINER_H */
