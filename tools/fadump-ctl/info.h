/*
 * fadump-ctl: what query-fadump and the events say
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_INFO_H
#define FADUMP_CTL_INFO_H

#include "monitor.h"

typedef struct DumpInfo {
    char *id;
    char *cause;
    /* -1: none */
    gint64 crash_cpu;
    uint64_t time_ns;
    uint64_t vcpus;
    /* "0, 3"; empty: none */
    char *lost_registers;
    bool vmcoreinfo;
    uint64_t memory, held, capture_ns, boots, lost;
} DumpInfo;

typedef struct SaveInfo {
    char *status;
    char *id;
    uint64_t written, total;
    char *error;
} SaveInfo;

typedef struct FadumpInfo {
    char *state;
    bool early, will_yield, yielded;
    uint64_t boot_mem, max_boots;
    DumpInfo *dump;
    SaveInfo *save;
} FadumpInfo;

/* Checked: all that must be there is, and of its type. Text is printable. */
DumpInfo *dump_info_parse(json_object *obj, GError **errp);
SaveInfo *save_info_parse(json_object *obj, GError **errp);
FadumpInfo *fadump_info_parse(json_object *obj, GError **errp);
void dump_info_free(DumpInfo *dump);
void save_info_free(SaveInfo *save);
void fadump_info_free(FadumpInfo *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DumpInfo, dump_info_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SaveInfo, save_info_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FadumpInfo, fadump_info_free)

/* query-fadump; @raw, if not NULL, gets what QEMU sent */
FadumpInfo *fadump_query(Monitor *mon, json_object **raw, GError **errp);
/* The same, and CTL_NO_DUMP if none is held */
FadumpInfo *fadump_query_dump(Monitor *mon, GError **errp);

/* "cause panic, on vCPU 1 of 2, 2047 MiB, captured in 4.1 ms" */
char *dump_info_text(const DumpInfo *dump);

#endif
