/*
 * fadump-ctl: what makedumpfile says when it fails
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include "ctl.h"

/* Most lines of it that are shown */
#define SHOWN_LINES 3

/* Progress, advice on its usage, and what it says of its own age */
static bool is_noise(const char *line)
{
    static const char *const prefixes[] = {
        "Checking for memory holes", "Copying data", "Excluding ",
        "STEP ", "The kernel version is not supported",
        "The makedumpfile operation may be incomplete", "Try `",
        "Commandline parameter is invalid", "makedumpfile Failed",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(line, prefixes[i])) {
            return true;
        }
    }
    return !*line;
}

char *makedumpfile_reason(const char *out, const char *err)
{
    g_autofree char *all = g_strconcat(out, "\n", err, NULL);
    g_auto(GStrv) lines = g_strsplit_set(all, "\r\n", -1);
    GString *text = g_string_new(NULL);
    int shown = 0;

    for (char **p = lines; *p && shown < SHOWN_LINES; p++) {
        const char *said = g_strstrip(*p);
        g_autofree char *line = ctl_printable(said, MIN(strlen(said), 512));

        if (!is_noise(line)) {
            g_string_append_printf(text, "%s%s", shown++ ? " " : "", line);
        }
    }
    if (!shown) {
        g_string_append(text, "it did not say why");
    }
    return g_string_free(text, FALSE);
}
