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
} FadumpVcpuRuns;

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
     * Called once, when the device is realized: the boot memory (normalized
     * array of FadumpRange) that this machine needs if @size bytes are asked
     * for. The caller frees. NULL with @errp set, message and cure, if a boot
     * cannot be confined to that.
     */
    GArray *(*prepare)(FadumpConfiner *c, uint64_t size, Error **errp);

    /*
     * From now on firmware, bootloader and kernel are told of no RAM but
     * @boot, a normalized array of FadumpRange from prepare(), over any number
     * of resets until lift(). Called at the head of a reset, before any device
     * is reset, or when the machine's state has been loaded.
     */
    void (*confine)(FadumpConfiner *c, const GArray *boot);

    /* From the next reset on the machine has all its RAM. */
    void (*lift)(FadumpConfiner *c);

    /* What @cpu, stopped and synchronized, runs. */
    FadumpVcpuRuns (*vcpu_runs)(FadumpConfiner *c, CPUState *cpu);

    /*
     * The registers of @cpu are lost, and it is about to be reset. Give it the
     * execution mode of the machine's kernels: the note writers go by that of
     * the first vCPU.
     */
    void (*assume_mode)(FadumpConfiner *c, CPUState *cpu);
};

#endif /* HW_MISC_FADUMP_CONFINER_H */
