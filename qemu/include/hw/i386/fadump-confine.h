/*
 * Firmware-assisted dump: confining a PC's next boot to boot memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_I386_FADUMP_CONFINE_H
#define HW_I386_FADUMP_CONFINE_H

#include "hw/i386/pc.h"

/* Fill in the FadumpConfiner interface of a PC machine class. */
void pc_fadump_class_init(ObjectClass *oc);

/* Whether this boot needs an SRAT though the machine has no NUMA nodes. */
bool pc_fadump_srat_needed(PCMachineState *pcms);

/*
 * Cut [@base, @base + @size) of RAM at the borders of boot memory, in a
 * confined boot only (pcms->fadump_boot). Returns an array of FadumpPiece,
 * which the caller frees.
 */
GArray *pc_fadump_split(PCMachineState *pcms, uint64_t base, uint64_t size);

#endif /* HW_I386_FADUMP_CONFINE_H */
