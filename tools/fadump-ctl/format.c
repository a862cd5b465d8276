/*
 * fadump-ctl: text and JSON on standard output
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "ctl.h"

GQuark ctl_error_quark(void)
{
    return g_quark_from_static_string("fadump-ctl");
}

int ctl_exit_code(const GError *err)
{
    if (err->domain == G_OPTION_ERROR) {
        return CTL_USAGE;
    }
    if (err->domain != CTL_ERROR) {
        return CTL_FAILED;
    }
    if (err->code == CTL_INTERRUPTED) {
        return 128 + ctl_last_signal();
    }
    return err->code;
}

char *ctl_printable(const char *text, gssize len)
{
    g_autofree char *valid = g_utf8_make_valid(text, len);
    GString *out = g_string_new(NULL);

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        switch (g_unichar_type(c)) {
        case G_UNICODE_CONTROL:
            g_string_append_c(out, c == '\t' ? ' ' : '?');
            break;
        case G_UNICODE_FORMAT:
        case G_UNICODE_LINE_SEPARATOR:
        case G_UNICODE_PARAGRAPH_SEPARATOR:
        case G_UNICODE_PRIVATE_USE:
        case G_UNICODE_SURROGATE:
            /* the direction of writing is one of these */
            g_string_append_c(out, '?');
            break;
        default:
            g_string_append_unichar(out, c);
        }
    }
    return g_string_free(out, FALSE);
}

char *ctl_format_size(uint64_t bytes)
{
    if (bytes < 1024 * 1024) {
        return g_strdup_printf("%" PRIu64 " bytes", bytes);
    }
    if (bytes >> 20 < 100 * 1024) {
        return g_strdup_printf("%" PRIu64 " MiB", bytes >> 20);
    }
    return g_strdup_printf("%.1f GiB", bytes / 1073741824.0);
}

char *ctl_format_time(uint64_t seconds, const char *format)
{
    g_autoptr(GDateTime) time = seconds > G_MAXINT64 ? NULL :
                                g_date_time_new_from_unix_utc(seconds);

    return time ? g_date_time_format(time, format) : g_strdup("?");
}

char *ctl_format_duration(uint64_t ns)
{
    if (ns >= 10 * 1000000000ULL) {
        return g_strdup_printf("%.1f s", ns / 1e9);
    }
    return g_strdup_printf("%.1f ms", ns / 1e6);
}

void ctl_print_json(json_object *obj)
{
    puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
                                        JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(obj);
}

bool ctl_flush(GError **errp)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot write the output: %s",
                g_strerror(errno));
    return false;
}

json_object *ctl_json_string(const char *text)
{
    g_autofree char *valid = NULL;

    if (!text) {
        return NULL;
    }
    valid = g_utf8_make_valid(text, -1);
    return json_object_new_string(valid);
}
