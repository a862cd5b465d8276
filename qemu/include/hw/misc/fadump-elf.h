/*
 * Firmware-assisted dump: the ELF core that a dump descriptor describes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout is that of /proc/vmcore in the guest: ELF64 header, program
 * headers at offset 64 (makedumpfile takes no other), notes, padding to a
 * page, then memory, range after range. Pure functions.
 */
#ifndef HW_MISC_FADUMP_ELF_H
#define HW_MISC_FADUMP_ELF_H

/* One PT_LOAD; they follow one another in the file with no gap. */
typedef struct FadumpElfSegment {
    /* in the file, bytes */
    uint64_t offset;
    uint64_t size;
    /* where its content lies: guest-physical, or offset in the window */
    uint64_t src;
    bool window;
} FadumpElfSegment;

/*
 * ELF header, program headers and notes, padded to a page, of the dump that
 * @desc describes, which fadump_desc_check() has accepted. Appends a
 * FadumpElfSegment for each range that has content to @segments, ascending.
 * NULL with @errp set if it cannot be an ELF file. The caller frees.
 */
GByteArray *fadump_elf_build(const uint8_t *desc, GArray *segments,
                             Error **errp);

#endif /* HW_MISC_FADUMP_ELF_H */
