/*
 * fadump-ctl watch
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "event.h"
#include "release.h"
#include "report.h"
#include "save.h"
#include "target.h"

typedef struct Watch {
    const CtlOptions *opts;
    Monitor *mon;
    const char *once;
    const char *save_dir;
    const char *vmlinux;
    bool release;
    char **filter;
    int by_fd;
    gint64 deadline;
    /* part of the names of files */
    char *name;
    /* the event of --once has come */
    bool done;
    /* a dump was captured and is to be saved */
    bool captured;
    bool shut_down;
} Watch;

static bool say(Watch *w, json_object *json, const char *time,
                const char *what, const char *text, GError **errp)
{
    if (w->opts->json) {
        ctl_print_json(json_object_get(json));
    } else {
        printf("%s %s%s%s\n", time, what, *text ? " " : "", text);
    }
    return ctl_flush(errp);
}

static void say_now(Watch *w, const char *what, json_object *json,
                    const char *text)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *stamp = g_strdup_printf(
        "%s.%03dZ", time, g_date_time_get_microsecond(now) / 1000);
    json_object *line = json_object_new_object();

    json_object_object_add(line, what, json);
    say(w, line, stamp, what, text, NULL);
    json_object_put(line);
}

static void on_event(json_object *event, void *opaque)
{
    Watch *w = opaque;
    const char *name = json_member_string(event, "event");
    bool awaited = w->once && !strcmp(name, w->once);

    if (event_is_ours(name) || awaited) {
        g_autofree char *time = event_time(event);
        g_autofree char *text = event_text(event);
        g_autofree char *safe = ctl_printable(name, -1);

        say(w, event, time, safe, text, NULL);
    }
    w->done |= awaited;
    w->captured |= !strcmp(name, "FADUMP_CAPTURED");
    w->shut_down |= !strcmp(name, "SHUTDOWN");
}

/* What a file name may be made of, whatever the guest is called. */
static char *file_name_part(const char *name)
{
    char *part = g_strndup(name && *name ? name : "guest", 64);

    g_strcanon(part, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.", '_');
    if (*part == '.' || *part == '-') {
        *part = '_';
    }
    return part;
}

static char *guest_name(Monitor *mon)
{
    json_object *reply;
    char *part;

    if (mon->name) {
        return file_name_part(mon->name);
    }
    reply = monitor_command(mon, "query-name", NULL, NULL);
    part = file_name_part(json_member_string(reply, "name"));
    json_object_put(reply);
    return part;
}

/* Beside the dump, as one that looks for dumps finds it. */
static void write_report(const char *dump, json_object *json)
{
    g_autofree char *path = g_strconcat(dump, ".json", NULL);
    g_autofree char *text = g_strconcat(
        json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY |
                                       JSON_C_TO_STRING_NOSLASHESCAPE),
        "\n", NULL);
    g_autoptr(GError) why = NULL;

    if (!g_file_set_contents_full(path, text, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT, 0600,
                                  &why)) {
        g_printerr("fadump-ctl: %s\n", why->message);
    }
}

static bool report(Watch *w, const char *file, GError **errp)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(Oops) oops = report_dump(file, w->vmlinux, w->deadline, &why);
    g_autofree char *text = NULL;
    json_object *json;

    if (!oops) {
        if (why->code == CTL_INTERRUPTED || why->code == CTL_TIMEOUT) {
            g_propagate_error(errp, g_steal_pointer(&why));
            return false;
        }
        /* the dump is there: what it says can be seen later */
        g_printerr("fadump-ctl: no report: %s\n", why->message);
        return true;
    }
    json = report_json(file, oops);
    write_report(file, json);
    text = report_line(oops);
    say_now(w, "report", json, text);
    return true;
}

/* Save the dump that is held. False only if there is no point to go on. */
static bool save(Watch *w, const DumpInfo *dump, GError **errp)
{
    g_autofree char *time = ctl_format_time(dump->time_ns / 1000000000,
                                            "%Y%m%dT%H%M%SZ");
    g_autofree char *base = g_strdup_printf("%s-%s-%s.vmcore", w->name, time,
                                            dump->id);
    g_autofree char *file = g_build_filename(w->save_dir, base, NULL);
    g_auto(SaveResult) result = { NULL };
    SaveOptions opts = {
        .file = file,
        .by_fd = w->by_fd,
        .filter = w->filter,
        .deadline = w->deadline,
        .on_event = on_event,
        .opaque = w,
    };
    g_autoptr(GError) why = NULL;
    json_object *json;

    if (!save_dump(w->mon, &opts, &result, &why)) {
        if (why->code == CTL_INTERRUPTED || why->code == CTL_TIMEOUT) {
            g_propagate_error(errp, g_steal_pointer(&why));
            return false;
        }
        g_printerr("fadump-ctl: %s\n", why->message);
        return true;
    }
    json = json_object_new_object();
    json_object_object_add(json, "file", ctl_json_string(result.file));
    json_object_object_add(json, "id", ctl_json_string(result.id));
    say_now(w, "saved", json, result.file);
    if (!report(w, result.file, errp)) {
        return false;
    }
    if (w->release &&
        !release_dump(w->mon, w->deadline, on_event, w, &why)) {
        if (why->code == CTL_INTERRUPTED || why->code == CTL_TIMEOUT) {
            g_propagate_error(errp, g_steal_pointer(&why));
            return false;
        }
        g_printerr("fadump-ctl: %s\n", why->message);
    }
    return true;
}

/* Save what is held, unless it was. */
static bool save_held(Watch *w, GError **errp)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(FadumpInfo) info = fadump_query_dump(w->mon, &why);

    w->captured = false;
    if (!info) {
        /* released as soon as captured */
        if (why->code == CTL_NO_DUMP) {
            return true;
        }
        g_propagate_error(errp, g_steal_pointer(&why));
        return false;
    }
    if (info->save && !strcmp(info->save->id, info->dump->id) &&
        (!strcmp(info->save->status, "completed") ||
         !strcmp(info->save->status, "active"))) {
        return true;
    }
    return save(w, info->dump, errp);
}

static bool watch(Watch *w, GError **errp)
{
    json_object *raw = NULL;
    g_autoptr(FadumpInfo) info = NULL;

    if (!monitor_listen(w->mon, errp)) {
        return false;
    }
    info = fadump_query(w->mon, &raw, errp);
    if (!info) {
        return false;
    }
    say_now(w, "state", raw, info->state);
    if (w->save_dir) {
        w->name = guest_name(w->mon);
        if (info->dump && !save_held(w, errp)) {
            return false;
        }
    }
    while (!w->done) {
        g_autoptr(GError) why = NULL;
        json_object *event = monitor_event(w->mon, w->deadline, &why);

        if (!event) {
            if (!why) {
                g_set_error(errp, CTL_ERROR, CTL_TIMEOUT,
                            w->once ? "no %s in time" : "time is over%s",
                            w->once ? w->once : "");
                return false;
            }
            /* a machine that was shut down takes its monitor along */
            if (w->shut_down && !w->once && why->code == CTL_FAILED) {
                return true;
            }
            g_propagate_error(errp, g_steal_pointer(&why));
            return false;
        }
        on_event(event, w);
        json_object_put(event);
        if (w->captured && w->save_dir && !save_held(w, errp)) {
            return false;
        }
        if (!ctl_flush(errp)) {
            return false;
        }
    }
    return true;
}

bool cmd_watch(int argc, char **argv, CtlOptions *opts, GError **errp)
{
    static char *once, *save_dir, *vmlinux;
    static gboolean release;
    const GOptionEntry entries[] = {
        { "once", 'o', 0, G_OPTION_ARG_STRING, &once,
          "End after this event", "EVENT" },
        { "save-dir", 's', 0, G_OPTION_ARG_FILENAME, &save_dir,
          "Save each dump in this directory, with a report", "DIR" },
        { "release", 'r', 0, G_OPTION_ARG_NONE, &release,
          "Release each dump when it is saved", NULL },
        { "vmlinux", 0, 0, G_OPTION_ARG_FILENAME, &vmlinux,
          "The kernel with its symbols, for reports on dumps without "
          "VMCOREINFO", "FILE" },
        save_args_entries[0], save_args_entries[1], save_args_entries[2],
        G_OPTION_ENTRY_NULL
    };
    g_autoptr(Monitor) mon = NULL;
    g_auto(GStrv) filter = NULL;
    SaveOptions save_opts = { NULL };
    Watch w = { .opts = opts };
    bool ok;

    if (!ctl_parse("watch", "", "Print what happens, as it happens: a line for "
                   "each event.",
                   NULL, entries, opts, &argc, &argv, errp) ||
        !save_args_get(&save_opts, errp)) {
        return false;
    }
    filter = save_opts.filter;
    if (argc > 1) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "watch takes no argument");
        return false;
    }
    if (release && !save_dir) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "--release goes with --save-dir: what is not saved is not "
                    "released");
        return false;
    }
    if (save_dir && !g_file_test(save_dir, G_FILE_TEST_IS_DIR)) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE, "%s is no directory",
                    save_dir);
        return false;
    }
    mon = monitor_open(opts, errp);
    if (!mon) {
        return false;
    }
    w.mon = mon;
    w.once = once;
    w.save_dir = save_dir;
    w.vmlinux = vmlinux;
    w.release = release;
    w.filter = filter;
    w.by_fd = save_opts.by_fd;
    w.deadline = ctl_deadline(opts->timeout);
    ok = watch(&w, errp);
    g_free(w.name);
    return ok;
}
