/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between what drives the device (fadump.c) and what reads dumps (dump.c) */
#ifndef FADUMP_H
#define FADUMP_H

#include "bare.h"

#define CRASHED_MAGIC	0x4445485341524342ULL

u64 fadump_desc_size(void);
u64 fadump_shm(void);
void fadump_get_descriptor(void *to, u64 size);
void fadump_discard(u64 addr, u64 len);

#endif
