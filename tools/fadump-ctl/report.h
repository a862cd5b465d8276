/*
 * fadump-ctl: what crashed, from a dump in a file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_REPORT_H
#define FADUMP_CTL_REPORT_H

#include "ctl.h"
#include "oops.h"

/* The kernel's log in a dump. @vmlinux may be NULL. */
GByteArray *dump_read_log(const char *dump, const char *vmlinux,
                          gint64 deadline, GError **errp);

Oops *report_dump(const char *dump, const char *vmlinux, gint64 deadline,
                  GError **errp);
json_object *report_json(const char *dump, const Oops *oops);
/* "BUG: ... in function, signature 0123456789abcdef" */
char *report_line(const Oops *oops);

#endif
