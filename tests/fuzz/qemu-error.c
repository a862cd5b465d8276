/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's Error for the harnesses of its pure logic: what they need of it, since
 * QEMU's own comes with the monitor and the trace backends. Texts are made, so
 * that a wrong format is seen.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"

struct Error {
    char *msg;
};

void error_setg_internal(Error **errp, const char *src, int line,
                         const char *func, const char *fmt, ...)
{
    Error *err = g_new0(Error, 1);
    va_list ap;

    va_start(ap, fmt);
    err->msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_assert(errp && !*errp);
    *errp = err;
}

const char *error_get_pretty(const Error *err)
{
    return err->msg;
}

void error_free(Error *err)
{
    g_free(err->msg);
    g_free(err);
}
