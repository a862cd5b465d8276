/*
 * fadump-ctl status
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "info.h"

static void row(const char *name, const char *value)
{
    printf("%-16s %s\n", name, value);
}

static void row_take(const char *name, char *value)
{
    row(name, value);
    g_free(value);
}

static const char *state_meaning(const FadumpInfo *info)
{
    if (!strcmp(info->state, "dump-available")) {
        return " (a dump is held; boots are confined until it is released)";
    }
    if (!strcmp(info->state, "registered")) {
        return info->yielded ?
               " (the guest's own crash kernel has taken over; its death will "
               "be captured)" :
               info->will_yield ?
               " (a panic goes to the guest's own crash kernel, which is "
               "loaded; any other death will be captured)" :
               " (a crash will be captured)";
    }
    if (!strcmp(info->state, "idle")) {
        return info->early ?
               " (the guest has not registered; what can be told to be a "
               "crash is captured)" :
               " (the guest has not registered; a crash is not captured)";
    }
    return "";
}

static void print_dump(const DumpInfo *dump, uint64_t max_boots)
{
    g_autofree char *memory = ctl_format_size(dump->memory);
    g_autofree char *held = ctl_format_size(dump->held);
    g_autofree char *took = ctl_format_duration(dump->capture_ns);
    g_autofree char *time = ctl_format_time(dump->time_ns / 1000000000,
                                            "%Y-%m-%d %H:%M:%S UTC");

    puts("");
    row("Dump:", dump->id);
    row("  Cause:", dump->cause);
    if (dump->crash_cpu >= 0) {
        row_take("  vCPU:", g_strdup_printf("%" PRId64 " of %" PRIu64,
                                            dump->crash_cpu, dump->vcpus));
    } else {
        row_take("  vCPUs:", g_strdup_printf("%" PRIu64, dump->vcpus));
    }
    row_take("  Captured:", g_strdup_printf("%s, in %s", time, took));
    row_take("  Memory:", g_strdup_printf("%s, %s of it set aside by QEMU",
                                          memory, held));
    if (*dump->lost_registers) {
        row("  Lost registers:", dump->lost_registers);
    }
    row("  VMCOREINFO:", dump->vmcoreinfo ? "yes" : "no");
    row_take("  Boots since:", g_strdup_printf(
                 "%" PRIu64 ", dropped at a reset after %" PRIu64,
                 dump->boots, max_boots));
    if (dump->lost) {
        row_take("  Lost crashes:", g_strdup_printf(
                     "%" PRIu64 " while it was held", dump->lost));
    }
}

static void print_save(const SaveInfo *save, const DumpInfo *dump)
{
    puts("");
    row("Last save:", save->status);
    if (!dump || strcmp(save->id, dump->id)) {
        row("  Dump:", save->id);
    }
    row_take("  Written:", g_strdup_printf(
                 "%" PRIu64 " of %" PRIu64 " bytes (%.0f %%)", save->written,
                 save->total,
                 save->total ? 100.0 * save->written / save->total : 0.0));
    if (save->error) {
        row("  Error:", save->error);
    }
}

bool cmd_status(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    g_autoptr(Monitor) mon = NULL;
    g_autoptr(FadumpInfo) info = NULL;
    json_object *raw = NULL;

    if (!ctl_parse("status", "", "Show the device and the dump that it holds.",
                   NULL, NULL, opts, &argc, &argv, errp)) {
        return false;
    }
    if (argc > 1) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "status takes no argument");
        return false;
    }
    mon = monitor_open(opts, errp);
    if (!mon) {
        return false;
    }
    info = fadump_query(mon, &raw, errp);
    if (!info) {
        return false;
    }
    if (opts->json) {
        ctl_print_json(raw);
        return true;
    }
    json_object_put(raw);
    row_take("State:", g_strconcat(info->state, state_meaning(info), NULL));
    row("Armed early:", info->early ? "yes" : "no");
    row_take("Boot memory:", ctl_format_size(info->boot_mem));
    row_take("Boots allowed:", g_strdup_printf("%" PRIu64, info->max_boots));
    if (info->dump) {
        print_dump(info->dump, info->max_boots);
    }
    if (info->save) {
        print_save(info->save, info->dump);
    }
    return true;
}
