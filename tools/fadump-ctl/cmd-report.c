/*
 * fadump-ctl report
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>
#include "report.h"

static void row(const char *name, const char *value)
{
    printf("%-11s %s\n", name, value ? value : "not in the log");
}

static void print_report(const Oops *oops)
{
    row("Kernel:", oops->release);
    row("Cause:", oops->cause);
    if (oops->panic && g_strcmp0(oops->panic, oops->cause)) {
        row("Panic:", oops->panic);
    }
    if (oops->uptime >= 0) {
        printf("%-11s %.1f s\n", "Uptime:", oops->uptime);
    }
    if (oops->comm) {
        printf("%-11s %s, PID %" PRId64, "Task:", oops->comm, oops->pid);
        if (oops->cpu >= 0) {
            printf(", CPU %" PRId64, oops->cpu);
        }
        puts("");
    }
    if (oops->function) {
        row("Function:", oops->function);
    }
    for (guint i = 0; i < oops->nr_frames; i++) {
        row(i ? "" : oops->function ? "Called by:" : "Calls:",
            oops->frames[i]);
    }
    row("Signature:", oops->signature);
}

bool cmd_report(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    static char *vmlinux;
    static const GOptionEntry entries[] = {
        { "vmlinux", 0, 0, G_OPTION_ARG_FILENAME, &vmlinux,
          "The kernel with its symbols, for a dump without VMCOREINFO",
          "FILE" },
        G_OPTION_ENTRY_NULL
    };
    g_autoptr(Oops) oops = NULL;

    if (!ctl_parse("report", "DUMP", "Say what crashed, and a signature that "
                   "equal crashes share.",
                   "DUMP is an ELF core, or what makedumpfile has made of "
                   "one.",
                   entries, opts, &argc, &argv, errp)) {
        return false;
    }
    if (argc != 2) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "report takes one argument, the file with the dump");
        return false;
    }
    ctl_signals_init();
    oops = report_dump(argv[1], vmlinux, ctl_deadline(opts->timeout), errp);
    if (!oops) {
        return false;
    }
    if (opts->json) {
        ctl_print_json(report_json(argv[1], oops));
    } else {
        print_report(oops);
    }
    return true;
}
