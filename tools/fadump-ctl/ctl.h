/*
 * fadump-ctl: what all its files share: errors, signals, waiting, children
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_H
#define FADUMP_CTL_H

#include <json-c/json.h>
#include <gio/gio.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, which the manual has, and the codes of CTL_ERROR */
typedef enum CtlExit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NO_DEVICE = 3,
    CTL_NO_DUMP = 4,
    CTL_TIMEOUT = 5,
    /* the exit status is 128 and the signal's number */
    CTL_INTERRUPTED = 130,
} CtlExit;

#define CTL_ERROR ctl_error_quark()
GQuark ctl_error_quark(void);
int ctl_exit_code(const GError *err);

/* Points in time are of the monotonic clock, in microseconds. */
#define CTL_NEVER G_MAXINT64
gint64 ctl_deadline(double seconds);

typedef struct CtlOptions {
    char *connect;
    char *domain;
    char *uri;
    bool json;
    /* seconds, negative if it was not given */
    double timeout;
} CtlOptions;

/* ---- signals.c ---- */

void ctl_signals_init(void);
/* A signal asks this program to end: its number, or 0. */
int ctl_signal(void);
/* The last one that did, even if it was cleared. */
int ctl_last_signal(void);
/* Go on, to clean up; another one interrupts that as well. */
void ctl_signal_clear(void);
/*
 * As poll(), with signals and a deadline. Returns how many are ready, 0 at the
 * deadline, -1 with @errp set at a signal.
 */
int ctl_poll(struct pollfd *fds, int n, gint64 deadline, GError **errp);
int ctl_wait_readable(int fd, gint64 deadline, GError **errp);

/* ---- lines.c ---- */

/* Lines from a peer that may send anything, or never an end of line. */
typedef struct CtlLines {
    GByteArray *buf;
    gsize scanned;
    gsize limit;
    bool eof;
} CtlLines;

void ctl_lines_init(CtlLines *lines, gsize limit);
void ctl_lines_free(CtlLines *lines);
/* Take in what can be read without waiting; @fd must not block. */
bool ctl_lines_fill(CtlLines *lines, int fd, GError **errp);
/* The next whole line without its end, NULL if there is none yet. */
char *ctl_lines_next(CtlLines *lines, gsize *len);

/* ---- child.c ---- */

typedef struct CtlChild {
    const char *const *argv;
    /* what the child has as file descriptor 3, or -1; closed here */
    int fd3;
    /* keep an interrupt from the terminal from it */
    bool ignore_sigint;
    /* most that is taken of its standard output */
    gsize limit;
    gint64 deadline;
} CtlChild;

/*
 * Run a program to its end. @out and @err may be NULL; they are terminated by
 * a NUL that does not count. False if it could not be run, did not end in time
 * or said too much; its exit status is no matter, -1 stands for a signal.
 */
bool ctl_child_run(const CtlChild *child, GByteArray **out, char **err,
                   int *status, GError **errp);
/* The last line that is not empty, to be shown. */
char *ctl_last_line(const char *text);

/* ---- makedumpfile.c ---- */

/* Why it has failed, from its standard output and error. */
char *makedumpfile_reason(const char *out, const char *err);

/* ---- format.c ---- */

/* Text of a peer or a dump, made fit for a terminal: UTF-8, no control. */
char *ctl_printable(const char *text, gssize len);
char *ctl_format_size(uint64_t bytes);
char *ctl_format_time(uint64_t seconds, const char *format);
char *ctl_format_duration(uint64_t ns);
/* One line of JSON on standard output; takes the reference. */
void ctl_print_json(json_object *obj);
/* False if nobody reads standard output any more. */
bool ctl_flush(GError **errp);
/* A JSON string of any bytes. */
json_object *ctl_json_string(const char *text);

/* ---- main.c ---- */

/* Parse a command's own options together with the global ones. */
bool ctl_parse(const char *command, const char *arguments, const char *summary,
               const char *description, const GOptionEntry *entries,
               CtlOptions *opts, int *argc, char ***argv, GError **errp);

/* ---- cmd-*.c: the commands ---- */

typedef bool CtlCommandFunc(int argc, char **argv, CtlOptions *opts,
                            GError **errp);
CtlCommandFunc cmd_status, cmd_trigger, cmd_save, cmd_release, cmd_watch,
               cmd_report;

#endif
