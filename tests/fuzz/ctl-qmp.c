/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing: what fadump-ctl makes of all that a monitor says, from the greeting
 * on. A thread plays QEMU: it sends the input, whatever it is asked, and hangs
 * up.
 */
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "fuzz.h"

static char *dir, *path;
static int listener = -1;

typedef struct Said {
    const uint8_t *data;
    size_t size;
} Said;

static void close_down(void)
{
    close(listener);
    g_unlink(path);
    g_rmdir(dir);
}

static void listen_once(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    if (listener >= 0) {
        return;
    }
    dir = g_dir_make_tmp("fadump-fuzz-XXXXXX", NULL);
    check(dir);
    path = g_build_filename(dir, "qmp", NULL);
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0);
    check(!bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
    check(!listen(listener, 1));
    atexit(close_down);
}

static void *play_qemu(void *opaque)
{
    const Said *said = opaque;
    size_t size = said->size;
    const uint8_t *p = said->data;
    int fd = accept(listener, NULL, NULL);
    char asked[4096];

    check(fd >= 0);
    while (size) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

        if (n <= 0) {
            break;
        }
        p += n;
        size -= n;
    }
    shutdown(fd, SHUT_WR);
    while (read(fd, asked, sizeof(asked)) > 0) {
        ;
    }
    close(fd);
    return NULL;
}

static void see_event(json_object *event)
{
    g_autofree char *when = event_time(event), *text = event_text(event);

    check(when && text && g_utf8_validate(text, -1, NULL));
    event_is_ours(json_member_string(event, "event"));
    json_object_put(event);
}

static void talk(void)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(Monitor) mon = qmp_open(path, 5, &err);
    g_autoptr(FadumpInfo) info = NULL;
    json_object *event;

    check(!mon == !!err);
    if (!mon) {
        return;
    }
    info = fadump_query(mon, NULL, &err);
    check(!info == !!err);
    if (info && info->dump) {
        g_autofree char *text = dump_info_text(info->dump);

        check(g_utf8_validate(text, -1, NULL));
        check(g_uuid_string_is_valid(info->dump->id));
    }
    g_clear_error(&err);
    while ((event = monitor_event(mon, ctl_deadline(5), &err))) {
        see_event(event);
    }
    check(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Said said = { data, size };
    GThread *thread;

    listen_once();
    thread = g_thread_new("qemu", play_qemu, &said);
    talk();
    g_thread_join(thread);
    return 0;
}
