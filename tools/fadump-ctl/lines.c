/*
 * fadump-ctl: lines from a peer that is not trusted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "ctl.h"

void ctl_lines_init(CtlLines *lines, gsize limit)
{
    *lines = (CtlLines) { .buf = g_byte_array_new(), .limit = limit };
}

void ctl_lines_free(CtlLines *lines)
{
    g_clear_pointer(&lines->buf, g_byte_array_unref);
}

bool ctl_lines_fill(CtlLines *lines, int fd, GError **errp)
{
    guint8 chunk[16384];
    ssize_t n;

    /* callers have taken all whole lines */
    if (lines->buf->len > lines->limit) {
        g_set_error(errp, CTL_ERROR, CTL_FAILED,
                    "a line of more than %" G_GSIZE_FORMAT " bytes came",
                    lines->limit);
        return false;
    }
    do {
        n = read(fd, chunk, sizeof(chunk));
    } while (n < 0 && errno == EINTR);

    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return true;
        }
        /* what a pseudo terminal says when its other side was closed */
        if (errno == EIO || errno == ECONNRESET) {
            lines->eof = true;
            return true;
        }
        g_set_error(errp, CTL_ERROR, CTL_FAILED, "cannot read: %s",
                    g_strerror(errno));
        return false;
    }
    if (n == 0) {
        lines->eof = true;
        return true;
    }
    g_byte_array_append(lines->buf, chunk, n);
    return true;
}

char *ctl_lines_next(CtlLines *lines, gsize *len)
{
    guint8 *start = lines->buf->data;
    guint8 *end;
    gsize n;
    char *line;

    if (!lines->buf->len) {
        return NULL;
    }
    end = memchr(start + lines->scanned, '\n',
                 lines->buf->len - lines->scanned);
    if (!end) {
        lines->scanned = lines->buf->len;
        return NULL;
    }
    n = end - start;
    line = g_strndup((char *)start, n);
    if (n && line[n - 1] == '\r') {
        line[n - 1] = 0;
        *len = n - 1;
    } else {
        *len = n;
    }
    g_byte_array_remove_range(lines->buf, 0, n + 1);
    lines->scanned = 0;
    return line;
}
