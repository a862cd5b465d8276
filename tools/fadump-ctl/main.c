/*
 * fadump-ctl: the command line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"

#ifndef FADUMP_CTL_VERSION
#define FADUMP_CTL_VERSION "unknown"
#endif

static const struct {
    const char *name;
    const char *summary;
    CtlCommandFunc *run;
} commands[] = {
    { "status", "show the device and the dump that it holds", cmd_status },
    { "trigger", "capture the guest and reset it", cmd_trigger },
    { "save", "write the dump to a file", cmd_save },
    { "release", "drop the dump and give the guest its memory", cmd_release },
    { "watch", "print what happens, and save what is captured", cmd_watch },
    { "report", "say what crashed, from a file with a dump", cmd_report },
};

static CtlOptions options = { .timeout = -1 };
static gboolean want_json, want_version;

static const GOptionEntry global_entries[] = {
    { "connect", 'c', 0, G_OPTION_ARG_FILENAME, &options.connect,
      "QEMU's QMP socket: PATH, unix:PATH or tcp:HOST:PORT", "SPEC" },
    { "domain", 'd', 0, G_OPTION_ARG_STRING, &options.domain,
      "A domain of libvirt", "NAME" },
    { "uri", 0, 0, G_OPTION_ARG_STRING, &options.uri,
      "With --domain: libvirt's connection", "URI" },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &want_json,
      "Print JSON", NULL },
    { "timeout", 't', 0, G_OPTION_ARG_DOUBLE, &options.timeout,
      "How long to wait", "SECONDS" },
    G_OPTION_ENTRY_NULL
};

static const GOptionEntry main_entries[] = {
    { "version", 'V', 0, G_OPTION_ARG_NONE, &want_version,
      "Print the version", NULL },
    G_OPTION_ENTRY_NULL
};

static bool finish_parse(GError **errp)
{
    options.json = want_json;
    /* -1 is what it is when it was not given */
    if (options.timeout < 0 && options.timeout != -1) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "--timeout must not be negative");
        return false;
    }
    return true;
}

bool ctl_parse(const char *command, const char *arguments, const char *summary,
               const char *description, const GOptionEntry *entries,
               CtlOptions *opts, int *argc, char ***argv, GError **errp)
{
    g_autofree char *usage = g_strconcat(command, *arguments ? " " : "",
                                         arguments, NULL);
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    GOptionGroup *group = g_option_group_new(
        "global", "Options of all commands:", "Show them too", NULL, NULL);

    /* the parser would take what follows for the value that may be left out */
    for (int i = 1; i < *argc && strcmp((*argv)[i], "--"); i++) {
        if (!strcmp((*argv)[i], "--filter")) {
            (*argv)[i] = (char *)"--filter=";
        }
    }
    g_option_context_set_summary(context, summary);
    g_option_context_set_description(context, description);
    if (entries) {
        g_option_context_add_main_entries(context, entries, NULL);
    }
    g_option_group_add_entries(group, global_entries);
    g_option_context_add_group(context, group);
    return g_option_context_parse(context, argc, argv, errp) &&
           finish_parse(errp);
}

static char *list_commands(void)
{
    GString *text = g_string_new("Commands:\n");

    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_string_append_printf(text, "  %-8s  %s\n", commands[i].name,
                               commands[i].summary);
    }
    g_string_append(text, "\nfadump-ctl COMMAND --help tells the options of a "
                    "command.\n\nExit status: 0 done, 1 failed, 2 wrong usage, "
                    "3 no device, 4 no dump,\n5 not in time, 128 and the "
                    "signal's number when interrupted.");
    return g_string_free(text, FALSE);
}

static bool run(int argc, char **argv, GError **errp)
{
    g_autofree char *list = list_commands();
    g_autoptr(GOptionContext) context =
        g_option_context_new("COMMAND [ARGUMENT…]");

    g_option_context_set_summary(
        context, "Firmware-assisted dump of QEMU guests: look, trigger, save, "
        "release, watch, report.");
    g_option_context_set_description(context, list);
    /* what comes after the command is its own */
    g_option_context_set_strict_posix(context, TRUE);
    g_option_context_add_main_entries(context, global_entries, NULL);
    g_option_context_add_main_entries(context, main_entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, errp) ||
        !finish_parse(errp)) {
        return false;
    }
    if (want_version) {
        puts("fadump-ctl " FADUMP_CTL_VERSION);
        return ctl_flush(errp);
    }
    if (argc < 2) {
        g_set_error(errp, CTL_ERROR, CTL_USAGE,
                    "say what to do: status, trigger, save, release, watch or "
                    "report (--help tells more)");
        return false;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(argv[1], commands[i].name)) {
            /* the parser wants a program's name first */
            return commands[i].run(argc - 1, argv + 1, &options, errp) &&
                   ctl_flush(errp);
        }
    }
    g_set_error(errp, CTL_ERROR, CTL_USAGE,
                "there is no command '%s' (--help lists them)", argv[1]);
    return false;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) err = NULL;
    g_auto(GStrv) args = NULL;
    int code;

    setlocale(LC_ALL, "");
    g_set_prgname("fadump-ctl");
    /* a reader that has gone is an error of write() */
    signal(SIGPIPE, SIG_IGN);
    args = g_strdupv(argv);
    /* the parsers move pointers about in the array, and drop some */
    argv = g_memdup2(args, (argc + 1) * sizeof(*argv));

    if (run(argc, argv, &err)) {
        g_free(argv);
        return CTL_OK;
    }
    g_free(argv);
    code = ctl_exit_code(err);
    if (options.json) {
        json_object *obj = json_object_new_object();
        json_object *error = json_object_new_object();

        json_object_object_add(error, "status", json_object_new_int(code));
        json_object_object_add(error, "message",
                               ctl_json_string(err->message));
        json_object_object_add(obj, "error", error);
        ctl_print_json(obj);
        fflush(stdout);
    }
    g_printerr("fadump-ctl: %s\n", err->message);
    return code;
}
