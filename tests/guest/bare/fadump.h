/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between what drives the device (fadump.c) and what reads dumps (dump.c) */
#ifndef FADUMP_H
#define FADUMP_H

#include "bare.h"

/* fw_cfg shows the descriptor too */
#define FW_CFG_DESC	"etc/fadump-dump"
/* of struct elf_prstatus of x86-64, and where its registers lie */
#define PRSTATUS_SIZE	336
#define PRSTATUS_REGS	112
#define CRASHED_MAGIC	0x4445485341524342ULL

u64 fadump_desc_size(void);
u64 fadump_window(void);
void fadump_discard(u64 addr, u64 len);

#endif
