/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what fadump-ctl makes of a kernel log, which a guest has written.
 */
#include "fuzz.h"
#include "report.h"

/* What is printed is fit for a terminal. */
static void check_text(const char *text)
{
    const char *p;

    if (text) {
        check(g_utf8_validate(text, -1, NULL));
        for (p = text; *p; p = g_utf8_next_char(p)) {
            check(!g_unichar_iscntrl(g_utf8_get_char(p)));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* no NUL at the end */
    g_autofree char *log = g_memdup2(data, size);
    g_autoptr(Oops) oops = oops_parse(log, size);
    g_autoptr(Oops) again = oops_parse(log, size);
    g_autofree char *line = report_line(oops);
    json_object *json = report_json("dump", oops);

    check_text(oops->release);
    check_text(oops->cause);
    check_text(oops->panic);
    check_text(oops->message);
    check_text(oops->function);
    check_text(oops->comm);
    check_text(line);
    check(oops->nr_frames <= OOPS_FRAMES);
    check(!oops->signature || strlen(oops->signature) == 16);
    check(!g_strcmp0(oops->signature, again->signature));
    check(json_object_to_json_string(json));
    json_object_put(json);
    return 0;
}
