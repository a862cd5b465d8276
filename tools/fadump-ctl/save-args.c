/*
 * fadump-ctl: the options of the commands that save a dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "save.h"

static gboolean by_fd = -1;
static gboolean filter;
static char *filter_options;

static gboolean on_filter(const char *name, const char *value, gpointer opaque,
                          GError **errp)
{
    filter = true;
    g_free(filter_options);
    filter_options = value && *value ? g_strdup(value) : NULL;
    return true;
}

const GOptionEntry save_args_entries[SAVE_ARGS_ENTRIES] = {
    { "filter", 0, G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK,
      (void *)on_filter,
      "Filter and compress with makedumpfile (default: -l -d 31)",
      "OPTIONS" },
    { "fd", 0, 0, G_OPTION_ARG_NONE, &by_fd,
      "Write the file here: QEMU is passed a pipe (default with --domain)",
      NULL },
    { "no-fd", 0, G_OPTION_FLAG_REVERSE, G_OPTION_ARG_NONE, &by_fd,
      "Let QEMU open the file (default with --connect)", NULL },
};

bool save_args_get(SaveOptions *opts, GError **errp)
{
    opts->by_fd = by_fd;
    if (!filter) {
        return true;
    }
    opts->filter = save_parse_filter(filter_options, errp);
    return opts->filter;
}
