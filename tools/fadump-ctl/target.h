/*
 * fadump-ctl: files that appear when they are complete
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_TARGET_H
#define FADUMP_CTL_TARGET_H

#include "ctl.h"

/* A name beside @path that no file has: for what is not complete. */
char *target_temp_name(const char *path, const char *suffix);
/*
 * Open a file in the directory of @path that has no name, or where the file
 * system cannot do that, the name *@temp.
 */
int target_open(const char *path, char **temp, GError **errp);
/*
 * Bring the file, open as @fd, to stable storage and give it the name @path.
 * Its name so far is @temp, or NULL. An existing file is replaced if @force.
 */
bool target_publish(int fd, const char *temp, const char *path, bool force,
                    GError **errp);
/* Whether @path may be written, before any work is done. */
bool target_check(const char *path, bool force, GError **errp);

#endif
