/*
 * Firmware-assisted dump: writing a held dump to a file, in the background
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_FADUMP_SAVE_H
#define HW_MISC_FADUMP_SAVE_H

#include "qapi/qapi-types-fadump.h"

typedef struct FadumpSave FadumpSave;

/*
 * Start to write the dump whose checked descriptor is at @desc to @protocol:
 * "file:PATH" or "fd:NAME" as dump-guest-memory has them. @window tells where
 * the window lies, an array of FadumpRamRun by offset in it. The
 * caller keeps the dump held, and the machine from being migrated, until @done
 * is called with @opaque, under the BQL, in the main loop. NULL with @errp set
 * if it cannot start.
 */
FadumpSave *fadump_save_start(const char *protocol, const uint8_t *desc,
                              const GArray *window,
                              void (*done)(void *opaque), void *opaque,
                              Error **errp);

/* End it soon, with no file left. */
void fadump_save_cancel(FadumpSave *save);

/* Whether it has not called @done yet. Under the BQL. */
bool fadump_save_active(const FadumpSave *save);

/* What query-fadump says of it; the caller frees. Under the BQL. */
FadumpSaveInfo *fadump_save_info(const FadumpSave *save);

/* Only after @done was called, or NULL. */
void fadump_save_free(FadumpSave *save);

#endif /* HW_MISC_FADUMP_SAVE_H */
