/*
 * fadump-ctl: saving a dump to a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_SAVE_H
#define FADUMP_CTL_SAVE_H

#include "info.h"

typedef struct SaveOptions {
    const char *file;
    /* replace a file */
    bool force;
    /* pass QEMU a file descriptor: 1, let it open the file: 0, choose: -1 */
    int by_fd;
    /* makedumpfile's options, NULL: the dump as it is */
    char **filter;
    /* show how far it is */
    bool progress;
    gint64 deadline;
    /* events that come meanwhile */
    MonitorEventFunc *on_event;
    void *opaque;
} SaveOptions;

typedef struct SaveResult {
    char *file;
    char *id;
    uint64_t core_size;
    uint64_t file_size;
} SaveResult;

/* The options of makedumpfile in a string; the default if it is NULL. */
char **save_parse_filter(const char *text, GError **errp);

/*
 * Save the dump that is held. The file is there and complete when this returns
 * true, and else it is as it was, whatever happened: a signal cancels the job.
 */
bool save_dump(Monitor *mon, const SaveOptions *opts, SaveResult *result,
               GError **errp);
void save_result_clear(SaveResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SaveResult, save_result_clear)

/* ---- save-args.c: the same options for each command that saves ---- */

#define SAVE_ARGS_ENTRIES 3
extern const GOptionEntry save_args_entries[SAVE_ARGS_ENTRIES];
/* What they say: by_fd and filter, which is to be freed. */
bool save_args_get(SaveOptions *opts, GError **errp);

#endif
