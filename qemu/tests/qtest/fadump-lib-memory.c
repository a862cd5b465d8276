/*
 * QTest helpers for fadump-dev: QEMU's memory, as the host has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

/* The lines of one mapping in smaps are behind the one with its addresses. */
Mapping look_at(Fadump *f, uint64_t start, uint64_t size)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps",
                                            (int)qtest_pid(f->qts));
    g_autofree char *smaps = NULL;
    g_auto(GStrv) lines = NULL;
    Mapping m = { };
    bool inside = false;
    size_t i;

    g_assert_true(g_file_get_contents(path, &smaps, NULL, NULL));
    lines = g_strsplit(smaps, "\n", 0);
    for (i = 0; lines[i]; i++) {
        uint64_t from, to, kib;

        if (sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            inside = from < start + size && start < to;
            m.nr += inside;
        } else if (inside && sscanf(lines[i], "Rss: %" SCNu64, &kib) == 1) {
            m.rss += kib * KiB;
        } else if (inside && g_str_has_prefix(lines[i], "VmFlags:")) {
            m.nr_dontdump += !!strstr(lines[i], " dd");
            m.nr_mergeable += !!strstr(lines[i], " mg");
            m.nr_nohuge += !!strstr(lines[i], " nh");
        }
    }
    return m;
}

/* Where a RAM block lies in QEMU's address space */
uint64_t block_address(Fadump *f, const char *name)
{
    g_autofree char *said = qtest_hmp(f->qts, "info ramblock");
    g_auto(GStrv) lines = g_strsplit(said, "\n", 0);
    size_t i;

    for (i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        const char *addr = strstr(line, " 0x");

        if (g_str_has_prefix(line, name) && line[strlen(name)] == ' ') {
            const char *next;

            /* the last but one of its columns, the last is rw or ro */
            while ((next = strstr(addr + 1, " 0x"))) {
                addr = next;
            }
            return g_ascii_strtoull(addr + 1, NULL, 16);
        }
    }
    g_assert_not_reached();
}

uint64_t held_address(Fadump *f)
{
    return block_address(f, "0000:00:04.0/fadump-dump");
}

/* The held area, in the window behind the descriptor */
Mapping look_at_held(Fadump *f)
{
    return look_at(f, held_address(f), f->window_len - 2 * MiB);
}

/* Memory is given back when nothing has anything against it any more. */
void wait_given_back(Fadump *f)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (look_at_held(f).rss && g_get_monotonic_time() < end) {
        g_usleep(10000);
        settle(f);
    }
    g_assert_cmpint(look_at_held(f).rss, ==, 0);
}

/* and what stood in for RAM at a reset after that */
void reset_until_given_back(Fadump *f)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_US;

    while (look_at_held(f).rss && g_get_monotonic_time() < end) {
        g_usleep(10000);
        system_reset(f);
    }
    g_assert_cmpint(look_at_held(f).rss, ==, 0);
}
