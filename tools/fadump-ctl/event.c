/*
 * fadump-ctl: what an event says, for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>
#include "event.h"

bool event_is_ours(const char *name)
{
    static const char *const others[] = {
        "GUEST_CRASHLOADED", "GUEST_PANICKED", "RESET", "SHUTDOWN",
        "WATCHDOG", NULL
    };

    return g_str_has_prefix(name, "FADUMP_") || g_strv_contains(others, name);
}

char *event_time(json_object *event)
{
    json_object *stamp = json_member(event, "timestamp", json_type_object);
    json_object *seconds = json_member(stamp, "seconds", json_type_int);
    json_object *micros = json_member(stamp, "microseconds", json_type_int);
    int64_t us = json_object_get_int64(micros);
    g_autofree char *text = NULL;

    /* QEMU sends -1 if it does not know */
    if (!seconds || json_object_get_int64(seconds) < 0 || us < 0 ||
        us >= G_USEC_PER_SEC) {
        return g_strdup("-");
    }
    text = ctl_format_time(json_object_get_int64(seconds),
                           "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%03dZ", text, (int)(us / 1000));
}

static char *captured_text(json_object *data)
{
    g_autoptr(DumpInfo) dump =
        dump_info_parse(json_member(data, "dump", json_type_object), NULL);

    return dump ? dump_info_text(dump) : NULL;
}

static char *save_text(json_object *data)
{
    g_autoptr(SaveInfo) save =
        save_info_parse(json_member(data, "save", json_type_object), NULL);
    g_autofree char *size = NULL;

    if (!save) {
        return NULL;
    }
    size = ctl_format_size(save->written);
    return g_strdup_printf("dump %s, %s, %s written%s%s", save->id,
                           save->status, size, save->error ? ": " : "",
                           save->error ? save->error : "");
}

/* Two strings of the data, with text around them */
static char *two_text(json_object *data, const char *format, const char *a,
                      const char *b)
{
    const char *first = json_member_string(data, a);
    const char *second = json_member_string(data, b);

    return first && second ? g_strdup_printf(format, first, second) : NULL;
}

char *event_text(json_object *event)
{
    const char *name = json_member_string(event, "event");
    json_object *data = json_member(event, "data", json_type_object);
    g_autofree char *text = NULL;

    if (!strcmp(name, "FADUMP_CAPTURED")) {
        text = captured_text(data);
    } else if (!strcmp(name, "FADUMP_SAVE_COMPLETED")) {
        text = save_text(data);
    } else if (!strcmp(name, "FADUMP_RELEASED")) {
        text = two_text(data, "dump %s, by %s", "id", "reason");
    } else if (!strcmp(name, "FADUMP_FAILED")) {
        text = two_text(data, "cause %s, not captured: %s", "cause", "error");
    }
    /* of an unexpected shape, or another event */
    if (!text && data && json_object_object_length(data)) {
        text = g_strdup(json_object_to_json_string_ext(
                            data, JSON_C_TO_STRING_PLAIN |
                            JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    return ctl_printable(text ? text : "", -1);
}
