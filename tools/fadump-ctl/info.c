/*
 * fadump-ctl: reading query-fadump and the data of events
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>
#include "info.h"

static bool missing(const char *what, const char *name, GError **errp)
{
    g_set_error(errp, CTL_ERROR, CTL_FAILED,
                "QEMU does not say '%s' of %s, or not as expected", name,
                what);
    return false;
}

static bool get_string(json_object *obj, const char *what, const char *name,
                       char **to, GError **errp)
{
    const char *value = json_member_string(obj, name);

    if (!value) {
        return missing(what, name, errp);
    }
    *to = ctl_printable(value, MIN(strlen(value), 1024));
    return true;
}

static bool get_number(json_object *obj, const char *what, const char *name,
                       uint64_t *to, GError **errp)
{
    json_object *value = json_member(obj, name, json_type_int);

    /* a negative one is read as 0 */
    if (!value || json_object_get_int64(value) < 0) {
        return missing(what, name, errp);
    }
    *to = json_object_get_uint64(value);
    return true;
}

static bool get_bool(json_object *obj, const char *what, const char *name,
                     bool *to, GError **errp)
{
    json_object *value = json_member(obj, name, json_type_boolean);

    if (!value) {
        return missing(what, name, errp);
    }
    *to = json_object_get_boolean(value);
    return true;
}

static bool get_indexes(json_object *obj, const char *what, const char *name,
                        char **to, GError **errp)
{
    json_object *list = json_member(obj, name, json_type_array);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!list) {
        return missing(what, name, errp);
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *index = json_object_array_get_idx(list, i);

        if (!json_object_is_type(index, json_type_int)) {
            return missing(what, name, errp);
        }
        if (i == 64) {
            g_string_append(text, ", ...");
            break;
        }
        g_string_append_printf(text, "%s%" PRId64, i ? ", " : "",
                               json_object_get_int64(index));
    }
    *to = g_strdup(text->str);
    return true;
}

DumpInfo *dump_info_parse(json_object *obj, GError **errp)
{
    static const char what[] = "the dump";
    g_autoptr(DumpInfo) dump = g_new0(DumpInfo, 1);
    json_object *cpu = json_member(obj, "crash-cpu", json_type_int);

    dump->crash_cpu = cpu ? json_object_get_int64(cpu) : -1;
    if (!get_string(obj, what, "id", &dump->id, errp) ||
        !get_string(obj, what, "cause", &dump->cause, errp) ||
        !get_number(obj, what, "time-ns", &dump->time_ns, errp) ||
        !get_number(obj, what, "vcpus", &dump->vcpus, errp) ||
        !get_indexes(obj, what, "lost-registers", &dump->lost_registers,
                     errp) ||
        !get_bool(obj, what, "vmcoreinfo", &dump->vmcoreinfo, errp) ||
        !get_number(obj, what, "memory", &dump->memory, errp) ||
        !get_number(obj, what, "held", &dump->held, errp) ||
        !get_number(obj, what, "capture-ns", &dump->capture_ns, errp) ||
        !get_number(obj, what, "boots", &dump->boots, errp) ||
        !get_number(obj, what, "lost", &dump->lost, errp)) {
        return NULL;
    }
    /* it becomes part of file names */
    if (!g_uuid_string_is_valid(dump->id)) {
        missing(what, "id", errp);
        return NULL;
    }
    return g_steal_pointer(&dump);
}

SaveInfo *save_info_parse(json_object *obj, GError **errp)
{
    static const char what[] = "the save job";
    g_autoptr(SaveInfo) save = g_new0(SaveInfo, 1);

    if (!get_string(obj, what, "status", &save->status, errp) ||
        !get_string(obj, what, "id", &save->id, errp) ||
        !get_number(obj, what, "written", &save->written, errp) ||
        !get_number(obj, what, "total", &save->total, errp)) {
        return NULL;
    }
    get_string(obj, what, "error", &save->error, NULL);
    return g_steal_pointer(&save);
}

FadumpInfo *fadump_info_parse(json_object *obj, GError **errp)
{
    static const char what[] = "the device";
    g_autoptr(FadumpInfo) info = g_new0(FadumpInfo, 1);
    json_object *member;

    if (!get_string(obj, what, "state", &info->state, errp) ||
        !get_bool(obj, what, "early", &info->early, errp) ||
        !get_number(obj, what, "boot-mem", &info->boot_mem, errp) ||
        !get_number(obj, what, "max-boots", &info->max_boots, errp)) {
        return NULL;
    }
    get_bool(obj, what, "will-yield", &info->will_yield, NULL);
    get_bool(obj, what, "yielded", &info->yielded, NULL);
    if (json_object_object_get_ex(obj, "dump", &member)) {
        info->dump = dump_info_parse(member, errp);
        if (!info->dump) {
            return NULL;
        }
    } else if (!strcmp(info->state, "dump-available")) {
        missing(what, "dump", errp);
        return NULL;
    }
    if (json_object_object_get_ex(obj, "save", &member)) {
        info->save = save_info_parse(member, errp);
        if (!info->save) {
            return NULL;
        }
    }
    return g_steal_pointer(&info);
}

void dump_info_free(DumpInfo *dump)
{
    if (dump) {
        g_free(dump->id);
        g_free(dump->cause);
        g_free(dump->lost_registers);
        g_free(dump);
    }
}

void save_info_free(SaveInfo *save)
{
    if (save) {
        g_free(save->status);
        g_free(save->id);
        g_free(save->error);
        g_free(save);
    }
}

void fadump_info_free(FadumpInfo *info)
{
    if (info) {
        g_free(info->state);
        dump_info_free(info->dump);
        save_info_free(info->save);
        g_free(info);
    }
}

FadumpInfo *fadump_query(Monitor *mon, json_object **raw, GError **errp)
{
    json_object *result = monitor_command(mon, "query-fadump", NULL, errp);
    FadumpInfo *info = NULL;

    if (result) {
        info = fadump_info_parse(result, errp);
    }
    if (info && raw) {
        *raw = result;
    } else {
        json_object_put(result);
    }
    return info;
}

FadumpInfo *fadump_query_dump(Monitor *mon, GError **errp)
{
    g_autoptr(FadumpInfo) info = fadump_query(mon, NULL, errp);

    if (info && !info->dump) {
        g_set_error(errp, CTL_ERROR, CTL_NO_DUMP,
                    "no dump is held: the device is in state %s",
                    info->state);
        return NULL;
    }
    return g_steal_pointer(&info);
}

char *dump_info_text(const DumpInfo *dump)
{
    g_autofree char *size = ctl_format_size(dump->memory);
    g_autofree char *took = ctl_format_duration(dump->capture_ns);
    g_autofree char *cpu = NULL;

    if (dump->crash_cpu >= 0) {
        cpu = g_strdup_printf(", on vCPU %" PRId64 " of %" PRIu64,
                              dump->crash_cpu, dump->vcpus);
    }
    return g_strdup_printf("dump %s, cause %s%s, %s, captured in %s",
                           dump->id, dump->cause, cpu ? cpu : "", size, took);
}
