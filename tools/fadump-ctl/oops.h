/*
 * fadump-ctl: what a kernel log says of the crash
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_OOPS_H
#define FADUMP_CTL_OOPS_H

#include <glib.h>

/* As many of the innermost functions make the signature. */
#define OOPS_FRAMES 6

typedef struct Oops {
    /* Printable UTF-8, or NULL where the log does not have it */
    char *release;
    /* What was wrong: the oops that led to the panic, or the panic */
    char *cause;
    /* The panic's line, if the kernel panicked */
    char *panic;
    /* @cause without what differs from one crash to the next */
    char *message;
    /* The function that faulted */
    char *function;
    /* Its callers, innermost first, without those that report crashes */
    char *frames[OOPS_FRAMES];
    guint nr_frames;
    /* The task that ran; -1 where it is not known */
    char *comm;
    gint64 pid, cpu;
    /* Seconds since the boot at @cause, or at the end; negative: unknown */
    double uptime;
    /* 16 hexadecimal digits; NULL if the log has no crash */
    char *signature;
} Oops;

/* @log may be any bytes. */
Oops *oops_parse(const char *log, gsize len);
void oops_free(Oops *oops);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Oops, oops_free)

/* Parts of it, for its test */
char *oops_normalise(const char *message);
char *oops_frame(const char *line);

#endif
