/*
 * Firmware-assisted dump: nobody writes to RAM that is being relocated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_FADUMP_QUIESCE_H
#define HW_MISC_FADUMP_QUIESCE_H

typedef struct FadumpQuiet FadumpQuiet;

/*
 * At the head of a system reset, with the BQL and no vCPU running: virtio
 * devices do not look at their rings any more, until the reset that goes on
 * after this has reset them; vhost backends are stopped; IOThreads do nothing
 * until fadump_quiesce_end(). I/O that is in flight is not waited for.
 *
 * Sets @ok to whether all IOThreads have answered within a short time: if one
 * has not, it may write to where RAM is now.
 */
FadumpQuiet *fadump_quiesce_begin(bool *ok);
void fadump_quiesce_end(FadumpQuiet *quiet);

#endif /* HW_MISC_FADUMP_QUIESCE_H */
