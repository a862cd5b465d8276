/*
 * Unit test of fadump-ctl with monitors that do not behave
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A thread plays QEMU. It says what a test tells it to, which is what no QEMU
 * says, or says when it should not.
 */

#include <errno.h>
#include <gio/gunixfdmessage.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "event.h"
#include "save.h"
#include "target.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define OK "{\"return\": {}, \"id\": @}\n"
#define ID "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
#define DUMP "{\"id\": \"" ID "\", \"cause\": \"panic\", \"crash-cpu\": 1, " \
    "\"time-ns\": 1763600000000000000, \"vcpus\": 2, \"lost-registers\": [], " \
    "\"vmcoreinfo\": true, \"memory\": 2147090432, \"held\": 536477696, " \
    "\"capture-ns\": 4100000, \"boots\": 0, \"lost\": 0}"
#define INFO "\"early\": false, \"boot-mem\": 536870912, \"max-boots\": 3"
#define HELD "{\"return\": {\"state\": \"dump-available\", " INFO \
    ", \"dump\": " DUMP "}, \"id\": @}\n"
#define SAVE(status, written, total) \
    "{\"return\": {\"state\": \"dump-available\", " INFO ", \"dump\": " DUMP \
    ", \"save\": {\"status\": \"" status "\", \"id\": \"" ID "\", " \
    "\"written\": " #written ", \"total\": " #total "}}, \"id\": @}\n"

/* For what comes, however slow the machine is; and for what does not come */
#define PATIENCE 60
#define IMPATIENCE 0.3

/* An answer that is no text */
#define HANG_UP "hang up"
#define SILENCE "silence"
#define INTERRUPT "interrupt"
/* takes the file descriptor, or writes so many bytes to it */
#define TAKE_FD "take fd"
#define WRITE_FD "write fd "

typedef struct Peer {
    char *dir;
    char *path;
    GSocketListener *listener;
    GThread *thread;
    const char *greeting;
    gsize greeting_len;
    /* the answers to one command after the other, NULL at the end */
    const char *const *script;
    /* what was asked */
    GPtrArray *commands;
    int fd;
    gsize size;
    GThread *writer;
} Peer;

static void send_text(GSocket *socket, const char *text, gssize len)
{
    len = len < 0 ? (gssize)strlen(text) : len;
    while (len > 0) {
        gssize n = g_socket_send(socket, text, len, NULL, NULL);

        if (n <= 0) {
            return;
        }
        text += n;
        len -= n;
    }
}

/* A line and the file descriptor that came with it; false at the end */
static bool receive(GSocket *socket, GString *line, int *fd)
{
    g_string_truncate(line, 0);
    for (;;) {
        char c;
        GInputVector vector = { &c, 1 };
        GSocketControlMessage **messages = NULL;
        int n = 0, flags = 0;

        if (g_socket_receive_message(socket, NULL, &vector, 1, &messages, &n,
                                     &flags, NULL, NULL) != 1) {
            return false;
        }
        while (n--) {
            if (G_IS_UNIX_FD_MESSAGE(messages[n])) {
                g_autofree int *fds = g_unix_fd_message_steal_fds(
                    G_UNIX_FD_MESSAGE(messages[n]), NULL);

                *fd = fds[0];
            }
            g_object_unref(messages[n]);
        }
        g_free(messages);
        if (c == '\n') {
            return true;
        }
        g_string_append_c(line, c);
    }
}

/* In a thread of its own, as QEMU does it */
static gpointer write_fd(gpointer opaque)
{
    Peer *peer = opaque;
    gsize size = peer->size;
    g_autofree char *buf = g_malloc0(size);

    /* some of it are no zeros */
    memset(buf + size / 3, 'x', size / 5);
    while (size) {
        ssize_t n = write(peer->fd, buf, size);

        if (n <= 0) {
            break;
        }
        size -= n;
    }
    close(peer->fd);
    peer->fd = -1;
    return NULL;
}

static gpointer peer_thread(gpointer opaque)
{
    Peer *peer = opaque;
    g_autoptr(GSocketConnection) connection =
        g_socket_listener_accept(peer->listener, NULL, NULL, NULL);
    GSocket *socket = g_socket_connection_get_socket(connection);
    g_autoptr(GString) line = g_string_new(NULL);

    send_text(socket, peer->greeting, peer->greeting_len);
    for (const char *const *p = peer->script; p && *p; p++) {
        const char *id;
        char number[24] = "";

        if (!receive(socket, line, &peer->fd)) {
            break;
        }
        g_ptr_array_add(peer->commands, g_strdup(line->str));
        if (!strcmp(*p, HANG_UP)) {
            break;
        }
        if (!strcmp(*p, SILENCE)) {
            continue;
        }
        if (!strcmp(*p, INTERRUPT)) {
            kill(getpid(), SIGINT);
            continue;
        }
        id = strstr(line->str, "\"id\":");
        g_assert_nonnull(id);
        g_snprintf(number, sizeof(number), "%d", atoi(id + strlen("\"id\":")));
        if (!strcmp(*p, TAKE_FD)) {
            g_assert_cmpint(peer->fd, >=, 0);
        }
        {
            const char *text = g_str_has_prefix(*p, WRITE_FD) ||
                               !strcmp(*p, TAKE_FD) ? OK : *p;
            g_auto(GStrv) parts = g_strsplit(text, "@", -1);
            g_autofree char *answer = g_strjoinv(number, parts);

            send_text(socket, answer, -1);
        }
        if (g_str_has_prefix(*p, WRITE_FD)) {
            peer->size = atoi(*p + strlen(WRITE_FD));
            peer->writer = g_thread_new("writer", write_fd, peer);
        }
    }
    /* until the other side has had enough, unless it was told to hang up */
    if (peer->script) {
        const char *const *p = peer->script;

        while (p[0] && p[1]) {
            p++;
        }
        if (p[0] && strcmp(p[0], HANG_UP)) {
            while (receive(socket, line, &peer->fd)) {
                g_ptr_array_add(peer->commands, g_strdup(line->str));
            }
        }
    }
    if (peer->writer) {
        g_thread_join(peer->writer);
    }
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    return NULL;
}

static void peer_start(Peer *peer, const char *greeting, gssize len,
                       const char *const *script)
{
    g_autoptr(GSocketAddress) address = NULL;

    memset(peer, 0, sizeof(*peer));
    peer->dir = g_dir_make_tmp("fadump-ctl-test-XXXXXX", NULL);
    peer->path = g_build_filename(peer->dir, "qmp", NULL);
    peer->listener = g_socket_listener_new();
    peer->greeting = greeting;
    peer->greeting_len = len < 0 ? (gssize)strlen(greeting) : len;
    peer->script = script;
    peer->commands = g_ptr_array_new_with_free_func(g_free);
    peer->fd = -1;
    address = g_unix_socket_address_new(peer->path);
    g_assert_true(g_socket_listener_add_address(
        peer->listener, address, G_SOCKET_TYPE_STREAM, 0, NULL, NULL, NULL));
    peer->thread = g_thread_new("peer", peer_thread, peer);
}

/* Wait for its end; nothing but its socket may be left in its directory. */
static void peer_end(Peer *peer)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    if (peer->thread) {
        g_thread_join(peer->thread);
    }
    g_socket_listener_close(peer->listener);
    g_object_unref(peer->listener);
    g_unlink(peer->path);
    dir = g_dir_open(peer->dir, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_error("%s is left", name);
    }
    g_rmdir(peer->dir);
    g_ptr_array_unref(peer->commands);
    g_free(peer->path);
    g_free(peer->dir);
    ctl_signal_clear();
}

static Monitor *open_peer(Peer *peer, double timeout, GError **errp)
{
    return qmp_open(peer->path, timeout, errp);
}

static void assert_error(GError **err, int code, const char *text)
{
    g_assert_nonnull(*err);
    g_test_message("%s", (*err)->message);
    g_assert_true((*err)->domain == CTL_ERROR);
    g_assert_cmpint((*err)->code, ==, code);
    if (text && !strstr((*err)->message, text)) {
        g_error("'%s' says nothing of '%s'", (*err)->message, text);
    }
    g_assert_true(g_utf8_validate((*err)->message, -1, NULL));
    g_clear_error(err);
}

/* ------------------------------------------------------------------ */

static void test_greeting(void)
{
    static const struct {
        const char *greeting;
        gssize len;
        int code;
        const char *text;
    } cases[] = {
        { "", 0, CTL_FAILED, "closed" },
        { "\n", 1, CTL_FAILED, "closed" },
        { "hello\n", -1, CTL_FAILED, "no QMP monitor" },
        { "{\n", -1, CTL_FAILED, "no QMP monitor" },
        { "[]\n", -1, CTL_FAILED, "no QMP monitor" },
        { "1\n", -1, CTL_FAILED, "no QMP monitor" },
        { "null\n", -1, CTL_FAILED, "no QMP monitor" },
        { "{}\n", -1, CTL_FAILED, "does not greet" },
        { "{\"QMP\": 1}\n", -1, CTL_FAILED, "does not greet" },
        { "{\"QMP\": {}} x\n", -1, CTL_FAILED, "no QMP monitor" },
        { "{\"QMP\": {}}\0\n", 13, CTL_FAILED, "no QMP monitor" },
        { "\0\0\0\n", 4, CTL_FAILED, "no QMP monitor" },
        { "{\"QMP\": \"\xff\xfe\"}\n", -1, CTL_FAILED, "no QMP monitor" },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", -1,
          CTL_FAILED, "no QMP monitor" },
        { "{\"event\": \"RESET\"}\n{\"QMP\": 1}\n", -1, CTL_FAILED,
          "does not greet" },
        { "SSH-2.0-OpenSSH\r\n", -1, CTL_FAILED, "no QMP monitor" },
        { "{\"QMP\": {", -1, CTL_FAILED, "closed" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        GError *err = NULL;
        Peer peer;

        peer_start(&peer, cases[i].greeting, cases[i].len, NULL);
        g_assert_null(open_peer(&peer, PATIENCE, &err));
        assert_error(&err, cases[i].code, cases[i].text);
        peer_end(&peer);
    }
}

static void test_too_long(void)
{
    g_autofree char *text = g_strnfill(4 << 20, 'a');
    g_autofree char *nested = g_strnfill(1 << 19, '[');
    GError *err = NULL;
    Peer peer;

    peer_start(&peer, text, -1, NULL);
    g_assert_null(open_peer(&peer, PATIENCE, &err));
    assert_error(&err, CTL_FAILED, "more than 1048576 bytes");
    peer_end(&peer);

    nested[(1 << 19) - 1] = '\n';
    peer_start(&peer, nested, -1, NULL);
    g_assert_null(open_peer(&peer, PATIENCE, &err));
    assert_error(&err, CTL_FAILED, "no QMP monitor");
    peer_end(&peer);
}

static void test_no_greeting(void)
{
    static const char *const script[] = { SILENCE, NULL };
    GError *err = NULL;
    Peer peer;

    peer_start(&peer, "", 0, script);
    g_assert_null(open_peer(&peer, IMPATIENCE, &err));
    assert_error(&err, CTL_TIMEOUT, "another client");
    peer_end(&peer);
}

static void test_capabilities(void)
{
    static const struct {
        const char *answer;
        int code;
    } cases[] = {
        { "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n",
          CTL_FAILED },
        { HANG_UP, CTL_FAILED },
        { SILENCE, CTL_TIMEOUT },
        { "x\n", CTL_FAILED },
        { INTERRUPT, CTL_INTERRUPTED },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *script[] = { cases[i].answer, NULL };
        bool silent = cases[i].code == CTL_TIMEOUT;
        GError *err = NULL;
        Peer peer;

        peer_start(&peer, GREETING, -1, script);
        g_assert_null(open_peer(&peer, silent ? IMPATIENCE : PATIENCE, &err));
        assert_error(&err, cases[i].code, NULL);
        peer_end(&peer);
    }
}

static void query(const char *answer, int code, const char *text)
{
    const char *script[] = { OK, answer, NULL };
    g_autoptr(Monitor) mon = NULL;
    g_autoptr(FadumpInfo) info = NULL;
    GError *err = NULL;
    Peer peer;

    peer_start(&peer, GREETING, -1, script);
    mon = open_peer(&peer, PATIENCE, &err);
    g_assert_no_error(err);
    if (code == CTL_TIMEOUT) {
        mon->answer_timeout = IMPATIENCE;
    }
    info = fadump_query(mon, NULL, &err);
    if (code) {
        g_assert_null(info);
        assert_error(&err, code, text);
    } else {
        g_assert_no_error(err);
        g_assert_nonnull(info);
    }
    g_clear_pointer(&mon, monitor_close);
    peer_end(&peer);
}

static void test_query(void)
{
    g_autofree char *many = NULL;
    g_autoptr(GString) events = g_string_new(NULL);

    query("{\"error\": {\"class\": \"GenericError\", \"desc\": "
          "\"the machine has no fadump-dev device\"}, \"id\": @}\n",
          CTL_NO_DEVICE, "-device fadump-dev");
    query("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"x\"}, "
          "\"id\": @}\n", CTL_NO_DEVICE, "without fadump-dev");
    query("{\"error\": {\"class\": \"GenericError\", \"desc\": "
          "\"a\\u001b[2J\\u0000\\nb\"}, \"id\": @}\n", CTL_FAILED, "a?[2J");
    query("{\"error\": {}, \"id\": @}\n", CTL_FAILED, "no reason");
    query("{\"error\": 1, \"id\": @}\n", CTL_FAILED, "is none");
    query("{\"error\": {\"class\": 1, \"desc\": []}, \"id\": @}\n", CTL_FAILED,
          "no reason");
    query("{\"return\": [], \"id\": @}\n", CTL_FAILED, "is none");
    query("{\"return\": null, \"id\": @}\n", CTL_FAILED, "is none");
    query("{\"id\": @}\n", CTL_FAILED, "is none");
    query(OK, CTL_FAILED, "'state'");
    query(HANG_UP, CTL_FAILED, "closed");
    query(SILENCE, CTL_TIMEOUT, "does not answer query-fadump");
    query(INTERRUPT, CTL_INTERRUPTED, "interrupted");
    query("{\"return\": {}, \"id\": 77}\n", CTL_TIMEOUT, NULL);
    query("{\"return\": {}, \"id\": \"@\"}\n", CTL_TIMEOUT, NULL);
    query("{\"return\": {}, \"id\": @", CTL_TIMEOUT, NULL);
    query("\n\n\r\n" HELD, 0, NULL);
    query("{\"return\": {}, \"id\": 0}\n{\"x\": 1}\n{\"event\": 1}\n"
          "{\"event\": \"RESET\"}\n" HELD, 0, NULL);
    query("{\"return\": {\"state\": \"idle\", " INFO "}, \"id\": @}\n", 0,
          NULL);
    query("{\"return\": {\"state\": \"registered\", \"yielded\": true, "
          INFO "}, \"id\": @}\n", 0, NULL);
    query("{\"return\": {\"state\": \"registered\", \"will-yield\": true, "
          INFO "}, \"id\": @}\n", 0, NULL);
    query("{\"return\": {\"state\": \"a new one\", " INFO ", \"new\": {}}, "
          "\"id\": @}\n", 0, NULL);
    query("{\"return\": {\"state\": \"dump-available\", " INFO "}, "
          "\"id\": @}\n", CTL_FAILED, "'dump'");
    query("{\"return\": {\"state\": 1, " INFO "}, \"id\": @}\n", CTL_FAILED,
          "'state'");
    query("{\"return\": {\"state\": \"idle\", \"early\": 0, \"boot-mem\": 1, "
          "\"max-boots\": 3}, \"id\": @}\n", CTL_FAILED, "'early'");
    query("{\"return\": {\"state\": \"idle\", \"early\": true, "
          "\"boot-mem\": 1.5, \"max-boots\": 3}, \"id\": @}\n", CTL_FAILED,
          "'boot-mem'");
    query("{\"return\": {\"state\": \"idle\", \"early\": true, "
          "\"boot-mem\": -1, \"max-boots\": 3}, \"id\": @}\n", CTL_FAILED,
          "'boot-mem'");
    query("{\"return\": {\"state\": \"idle\", \"early\": true, "
          "\"boot-mem\": 18446744073709551615, \"max-boots\": 3}, "
          "\"id\": @}\n", 0, NULL);
    query("{\"return\": {\"state\": \"idle\", " INFO ", \"dump\": 1}, "
          "\"id\": @}\n", CTL_FAILED, "'id' of the dump");
    query("{\"return\": {\"state\": \"idle\", " INFO ", \"save\": {}}, "
          "\"id\": @}\n", CTL_FAILED, "'status' of the save job");

    /* more events than anyone keeps */
    for (int i = 0; i < 5000; i++) {
        g_string_append(events, "{\"event\": \"RESET\"}\n");
    }
    query(events->str, CTL_FAILED, "no answer");
    many = g_strnfill(1 << 21, 'x');
    query(many, CTL_FAILED, "more than");
}

/* Each member of a dump missing, and of another type */
static void test_dump_info(void)
{
    static const char *const wrong[] = {
        "null", "1.5", "-1", "\"x\"", "[]", "{}", "true", "[\"x\"]", "[{}]",
    };
    json_object *good = json_parse_object(DUMP, strlen(DUMP), NULL);
    g_autoptr(DumpInfo) dump = dump_info_parse(good, NULL);
    g_autofree char *text = dump_info_text(dump);

    g_assert_cmpstr(text, ==, "dump " ID ", cause panic, on vCPU 1 of 2, "
                    "2047 MiB, captured in 4.1 ms");
    json_object_object_foreach(good, key, value) {
        json_object *copy = NULL;

        (void)value;
        json_object_deep_copy(good, &copy, NULL);
        json_object_object_del(copy, key);
        {
            g_autoptr(DumpInfo) parsed = dump_info_parse(copy, NULL);

            g_assert_cmpint(!parsed, ==, strcmp(key, "crash-cpu") != 0);
        }
        for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
            g_autoptr(DumpInfo) parsed = NULL;

            json_object_object_add(copy, key, json_tokener_parse(wrong[i]));
            parsed = dump_info_parse(copy, NULL);
            g_assert_true(!parsed || !strcmp(key, "crash-cpu") ||
                          !strcmp(key, "cause") ||
                          !strcmp(key, "lost-registers") ||
                          !strcmp(key, "vmcoreinfo"));
        }
        json_object_put(copy);
    }
    {
        static const char *const ids[] = {
            "", "../../etc/passwd", ID "/x", ID "\n", "1b4e28ba",
        };

        for (gsize i = 0; i < G_N_ELEMENTS(ids); i++) {
            json_object_object_add(good, "id",
                                   json_object_new_string(ids[i]));
            g_assert_null(dump_info_parse(good, NULL));
        }
    }
    json_object_put(good);
    g_assert_null(dump_info_parse(NULL, NULL));
    g_assert_null(save_info_parse(NULL, NULL));
    g_assert_null(fadump_info_parse(NULL, NULL));
}

static void test_events(void)
{
    static const char *const names[] = {
        "FADUMP_CAPTURED", "FADUMP_RELEASED", "FADUMP_FAILED",
        "FADUMP_SAVE_COMPLETED", "FADUMP_REGISTERED", "RESET", "\\u001b[2J",
    };
    static const char *const datas[] = {
        "1", "null", "[]", "{}", "\"x\"", "{\"dump\": 1}", "{\"dump\": {}}",
        "{\"save\": []}", "{\"id\": 1, \"reason\": \"x\"}",
        "{\"id\": \"x\", \"reason\": null}",
        "{\"cause\": \"\\u0007\", \"error\": \"\\u202e\\n\"}",
    };
    static const char *const stamps[] = {
        "1", "null", "{}", "{\"seconds\": -1, \"microseconds\": -1}",
        "{\"seconds\": 99999999999999999999, \"microseconds\": 0}",
        "{\"seconds\": 1, \"microseconds\": 99999999999}",
        "{\"seconds\": 1.5, \"microseconds\": \"x\"}",
        "{\"seconds\": 1763600000, \"microseconds\": 123456}",
    };

    for (gsize n = 0; n < G_N_ELEMENTS(names); n++) {
        for (gsize d = 0; d < G_N_ELEMENTS(datas); d++) {
            for (gsize s = 0; s < G_N_ELEMENTS(stamps); s++) {
                g_autofree char *text = g_strdup_printf(
                    "{\"event\": \"%s\", \"data\": %s, \"timestamp\": %s}",
                    names[n], datas[d], stamps[s]);
                json_object *event = json_parse_object(text, strlen(text),
                                                       NULL);
                g_autofree char *time = event_time(event);
                g_autofree char *says = event_text(event);

                g_assert_true(g_utf8_validate(says, -1, NULL));
                for (char *p = says; *p; p++) {
                    g_assert_true((guchar)*p >= ' ');
                }
                if (s == G_N_ELEMENTS(stamps) - 1) {
                    g_assert_cmpstr(time, ==, "2025-11-20T00:53:20.123Z");
                }
                json_object_put(event);
            }
        }
    }
}

static void test_virsh_events(void)
{
    static const struct {
        const char *line;
        const char *json;
    } cases[] = {
        { "event RESET at 1763600000.000012 for domain 'a': "
          "{\"guest\":true,\"reason\":\"guest-reset\"}",
          "{\"event\":\"RESET\",\"data\":{\"guest\":true,"
          "\"reason\":\"guest-reset\"},\"timestamp\":{\"seconds\":1763600000,"
          "\"microseconds\":12}}" },
        { "event FADUMP_REGISTERED at 1.500000 for domain 'it's: {}': (null)",
          "{\"event\":\"FADUMP_REGISTERED\",\"timestamp\":{\"seconds\":1,"
          "\"microseconds\":500000}}" },
        { "event X at 1.500000 for domain 'a': <null>",
          "{\"event\":\"X\",\"timestamp\":{\"seconds\":1,"
          "\"microseconds\":500000}}" },
        { "event X at 1.5 for domain 'a': {}", NULL },
        { "event x at 1.500000 for domain 'a': {}", NULL },
        { "event X at 99999999999999999999.500000 for domain 'a': {}", NULL },
        { "events received: 3", NULL },
        { "error: failed to get domain 'x'", NULL },
        { "", NULL },
        { "\xff", NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_object *event = virsh_parse_event(cases[i].line);

        if (cases[i].json) {
            g_assert_cmpstr(json_object_to_json_string_ext(
                                event, JSON_C_TO_STRING_PLAIN), ==,
                            cases[i].json);
        } else {
            g_assert_null(event);
        }
        json_object_put(event);
    }
}

static void test_printable(void)
{
    static const char *const cases[][2] = {
        { "", "" }, { "a b", "a b" }, { "\t", " " }, { "\n\r\033", "???" },
        { "\x7f", "?" }, { "\xc2\x9b", "?" }, { "ä€", "ä€" },
        { "\xe2\x80\xae", "?" }, { "\xff", "\xef\xbf\xbd" },
        { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = ctl_printable(cases[i][0], -1);

        g_assert_cmpstr(got, ==, cases[i][1]);
    }
}

/* ------------------------------------------------------------------ */

typedef struct SaveCase {
    const char *name;
    const char *const *script;
    int by_fd;
    /* FILE is there before */
    bool exists;
    bool force;
    double timeout;
    /* QEMU does not answer */
    bool impatient;
    int code;
    const char *text;
    gsize size;
} SaveCase;

static void test_save(gconstpointer opaque)
{
    const SaveCase *c = opaque;
    g_autoptr(Monitor) mon = NULL;
    g_auto(SaveResult) result = { NULL };
    g_autofree char *file = NULL;
    SaveOptions opts = { .by_fd = c->by_fd, .force = c->force };
    GError *err = NULL;
    struct stat st;
    Peer peer;
    bool ok;

    peer_start(&peer, GREETING, -1, c->script);
    file = g_build_filename(peer.dir, "core", NULL);
    if (c->exists) {
        g_assert_true(g_file_set_contents(file, "old", -1, NULL));
    }
    mon = open_peer(&peer, PATIENCE, &err);
    g_assert_no_error(err);
    if (c->impatient) {
        mon->answer_timeout = IMPATIENCE;
    }
    opts.file = file;
    opts.deadline = ctl_deadline(c->timeout ? c->timeout : PATIENCE);
    ok = save_dump(mon, &opts, &result, &err);
    g_clear_pointer(&mon, monitor_close);
    if (c->code) {
        g_assert_false(ok);
        assert_error(&err, c->code, c->text);
    } else {
        g_assert_no_error(err);
        g_assert_true(ok);
        g_assert_cmpstr(result.file, ==, file);
        g_assert_cmpstr(result.id, ==, ID);
    }
    if (c->size && !c->code) {
        g_autofree char *data = NULL;
        gsize len;

        g_assert_true(g_file_get_contents(file, &data, &len, NULL));
        g_assert_cmpuint(len, ==, c->size);
        for (gsize i = 0; i < len; i++) {
            char want = i >= len / 3 && i < len / 3 + len / 5 ? 'x' : 0;

            g_assert_cmpint(data[i], ==, want);
        }
        g_assert_cmpint(stat(file, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 0600);
        g_unlink(file);
    } else if (c->exists) {
        g_autofree char *data = NULL;

        g_assert_true(g_file_get_contents(file, &data, NULL, NULL));
        g_assert_cmpstr(data, ==, "old");
        g_unlink(file);
    }
    g_thread_join(g_steal_pointer(&peer.thread));
    if (c->code == CTL_INTERRUPTED || c->code == CTL_TIMEOUT) {
        bool cancelled = false;

        for (guint i = 0; i < peer.commands->len; i++) {
            cancelled |= !!strstr(g_ptr_array_index(peer.commands, i),
                                  "\"fadump-save-cancel\"");
        }
        g_assert_true(cancelled);
    }
    /* which sees that there is nothing else */
    peer_end(&peer);
}

#define SCRIPT(...) (const char *const[]) { OK, HELD, __VA_ARGS__, NULL }

static const SaveCase save_cases[] = {
    { "file", SCRIPT(OK, SAVE("active", 1, 100), SAVE("completed", 100, 100)),
      .by_fd = 0 },
    { "file-failed", SCRIPT(OK, SAVE("failed", 1, 100)), .by_fd = 0,
      .code = CTL_FAILED, .text = "failed" },
    { "file-refused", SCRIPT("{\"error\": {\"class\": \"GenericError\", "
                             "\"desc\": \"no space\"}, \"id\": @}\n"),
      .by_fd = 0, .code = CTL_FAILED, .text = "no space" },
    { "exists", SCRIPT(SILENCE), .by_fd = 0, .exists = true,
      .code = CTL_FAILED, .text = "--force" },
    { "no-dump", (const char *const[]) {
          OK, "{\"return\": {\"state\": \"idle\", " INFO "}, \"id\": @}\n",
          NULL },
      .code = CTL_NO_DUMP },
    { "hang-up", SCRIPT(OK, HANG_UP), .by_fd = 0, .code = CTL_FAILED,
      .text = "closed" },
    { "interrupt", SCRIPT(OK, SAVE("active", 1, 100), INTERRUPT, OK,
                          SAVE("active", 2, 100), SAVE("cancelled", 2, 100)),
      .by_fd = 0, .code = CTL_INTERRUPTED },
    /* before it is known whether there is a job */
    { "interrupt-start", SCRIPT(INTERRUPT, OK, SAVE("cancelled", 2, 100)),
      .by_fd = 0, .code = CTL_INTERRUPTED },
    { "late-start", SCRIPT(SILENCE, OK, SAVE("cancelled", 2, 100)),
      .by_fd = 0, .impatient = true, .code = CTL_TIMEOUT },
    { "busy", (const char *const[]) { OK, SAVE("active", 1, 100), NULL },
      .by_fd = 0, .code = CTL_FAILED, .text = "already" },
    { "interrupt-too-late", SCRIPT(OK, INTERRUPT, OK,
                                   SAVE("completed", 100, 100)),
      .by_fd = 0 },
    { "late", SCRIPT(OK, SAVE("active", 1, 100), SAVE("active", 1, 100), OK,
                     SAVE("cancelled", 2, 100)),
      .by_fd = 0, .timeout = 0.1, .code = CTL_TIMEOUT },
    { "forgotten", SCRIPT(OK, HELD, OK, HELD), .by_fd = 0, .code = CTL_FAILED,
      .text = "knows nothing" },
    { "odd-status", SCRIPT(OK, SAVE("\\u001b", 1, 100)), .by_fd = 0,
      .code = CTL_FAILED, .text = "?" },

    { "pipe", SCRIPT(TAKE_FD, WRITE_FD "3000000",
                     SAVE("active", 1, 3000000),
                     SAVE("completed", 3000000, 3000000)),
      .by_fd = 1, .size = 3000000 },
    { "pipe-force", SCRIPT(TAKE_FD, WRITE_FD "100",
                           SAVE("active", 1, 100),
                           SAVE("completed", 100, 100)),
      .by_fd = 1, .exists = true, .force = true, .size = 100 },
    { "pipe-short", SCRIPT(TAKE_FD, WRITE_FD "65536",
                           SAVE("active", 1, 65537),
                           SAVE("completed", 65537, 65537)),
      .by_fd = 1, .exists = true, .force = true, .code = CTL_FAILED,
      .text = "65536 came" },
    { "pipe-failed", SCRIPT(TAKE_FD, WRITE_FD "65536",
                            SAVE("active", 1, 65537),
                            SAVE("failed", 65536, 65537)),
      .by_fd = 1, .code = CTL_FAILED },
    { "pipe-refused", SCRIPT("{\"error\": {\"class\": \"GenericError\", "
                             "\"desc\": \"no fd\"}, \"id\": @}\n"),
      .by_fd = 1, .code = CTL_FAILED, .text = "--no-fd" },
    { "pipe-save-refused", SCRIPT(TAKE_FD,
                                  "{\"error\": {\"class\": \"GenericError\", "
                                  "\"desc\": \"busy\"}, \"id\": @}\n", OK),
      .by_fd = 1, .code = CTL_FAILED, .text = "busy" },
    { "pipe-interrupt", SCRIPT(TAKE_FD, OK, INTERRUPT, OK,
                               SAVE("cancelled", 0, 100)),
      .by_fd = 1, .code = CTL_INTERRUPTED },
    { "pipe-interrupt-start", SCRIPT(TAKE_FD, INTERRUPT, OK,
                                     SAVE("cancelled", 0, 100)),
      .by_fd = 1, .code = CTL_INTERRUPTED },
    { "pipe-late", SCRIPT(TAKE_FD, OK, SAVE("active", 0, 100), OK,
                          SAVE("cancelled", 0, 100)),
      .by_fd = 1, .timeout = 0.1, .code = CTL_TIMEOUT },
    { "pipe-hang-up", SCRIPT(TAKE_FD, OK, HANG_UP), .by_fd = 1,
      .code = CTL_FAILED, .text = "closed" },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/ctl/qmp/greeting", test_greeting);
    g_test_add_func("/ctl/qmp/too-long", test_too_long);
    g_test_add_func("/ctl/qmp/no-greeting", test_no_greeting);
    g_test_add_func("/ctl/qmp/capabilities", test_capabilities);
    g_test_add_func("/ctl/qmp/query", test_query);
    g_test_add_func("/ctl/info/dump", test_dump_info);
    g_test_add_func("/ctl/info/events", test_events);
    g_test_add_func("/ctl/info/virsh-events", test_virsh_events);
    g_test_add_func("/ctl/info/printable", test_printable);
    for (gsize i = 0; i < G_N_ELEMENTS(save_cases); i++) {
        g_autofree char *path = g_strconcat("/ctl/save/", save_cases[i].name,
                                            NULL);

        g_test_add_data_func(path, &save_cases[i], test_save);
    }
    return g_test_run();
}
