/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what fadump-ctl makes of a line of virsh (first byte 0), of what
 * makedumpfile says (1), and of any text that it shows (2).
 */
#include "event.h"
#include "fuzz.h"

static void check_shown(char *text)
{
    const char *p;

    check(g_utf8_validate(text, -1, NULL));
    for (p = text; *p; p = g_utf8_next_char(p)) {
        check(!g_unichar_iscntrl(g_utf8_get_char(p)));
    }
    g_free(text);
}

static void virsh_line(const char *line)
{
    json_object *event = virsh_parse_event(line);

    if (event) {
        const char *name = json_member_string(event, "event");

        check(name);
        event_is_ours(name);
        check_shown(event_time(event));
        check_shown(event_text(event));
        json_object_put(event);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = NULL;

    if (!size) {
        return 0;
    }
    text = g_strndup((const char *)data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        virsh_line(text);
        break;
    case 1:
        check_shown(makedumpfile_reason(text, text));
        check_shown(ctl_last_line(text));
        break;
    default:
        check_shown(ctl_printable((const char *)data + 1, size - 1));
    }
    return 0;
}
