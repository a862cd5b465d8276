/*
 * Firmware-assisted dump: Human Monitor Interface commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-fadump.h"
#include "qobject/qdict.h"

static void show_dump(Monitor *mon, const FadumpInfo *info)
{
    const FadumpDumpInfo *dump = info->dump;
    g_autoptr(GDateTime) time =
        g_date_time_new_from_unix_utc(dump->time_ns / NANOSECONDS_PER_SECOND);
    g_autofree char *when =
        time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S UTC") : NULL;
    const uint32List *lost;

    monitor_printf(mon, "dump: %s\n", dump->id);
    monitor_printf(mon, "cause: %s", FadumpCause_str(dump->cause));
    if (dump->has_crash_cpu) {
        monitor_printf(mon, ", on vCPU %" PRIu32, dump->crash_cpu);
    }
    monitor_printf(mon, "\ncaptured: %s, in %" PRIu64 ".%03" PRIu64 " ms\n",
                   when ?: "?", dump->capture_ns / 1000000,
                   dump->capture_ns / 1000 % 1000);
    monitor_printf(mon, "vCPUs: %" PRIu32 "\n", dump->vcpus);
    for (lost = dump->lost_registers; lost; lost = lost->next) {
        monitor_printf(mon, "registers lost: vCPU %" PRIu32 "\n", lost->value);
    }
    monitor_printf(mon, "memory: %" PRIu64 " MiB, %" PRIu64 " MiB of it in "
                   "host memory\n", dump->memory / MiB, dump->held / MiB);
    monitor_printf(mon, "vmcoreinfo: %s\n", dump->vmcoreinfo ? "yes" : "no");
    monitor_printf(mon, "boots since: %" PRIu32 " of %" PRIu32 "\n",
                   dump->boots, info->max_boots);
    monitor_printf(mon, "panics since: %" PRIu32 "\n", dump->lost);
}

void hmp_info_fadump(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(FadumpInfo) info = qmp_query_fadump(&err);

    if (hmp_handle_error(mon, err)) {
        return;
    }
    monitor_printf(mon, "state: %s%s%s\n", FadumpState_str(info->state),
                   info->early ? ", armed early" : "",
                   info->yielded ? ", yielded to a crash kernel" :
                   info->will_yield ? ", a crash kernel would go first" : "");
    monitor_printf(mon, "boot memory: %" PRIu64 " MiB\n",
                   info->boot_mem / MiB);
    if (info->dump) {
        show_dump(mon, info);
    }
    if (info->save) {
        monitor_printf(mon, "save: %s, %" PRIu64 " of %" PRIu64 " MiB%s%s\n",
                       FadumpSaveStatus_str(info->save->status),
                       info->save->written / MiB, info->save->total / MiB,
                       info->save->error ? ": " : "",
                       info->save->error ?: "");
    }
}

void hmp_fadump_trigger(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_fadump_trigger(&err);
    hmp_handle_error(mon, err);
}

void hmp_fadump_save(Monitor *mon, const QDict *qdict)
{
    g_autofree char *protocol =
        g_strdup_printf("file:%s", qdict_get_str(qdict, "filename"));
    Error *err = NULL;

    qmp_fadump_save(protocol, &err);
    hmp_handle_error(mon, err);
}

void hmp_fadump_save_cancel(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_fadump_save_cancel(&err);
    hmp_handle_error(mon, err);
}

void hmp_fadump_release(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_fadump_release(&err);
    hmp_handle_error(mon, err);
}
