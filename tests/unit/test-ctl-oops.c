/*
 * Unit test of fadump-ctl's reading of kernel logs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * kernel-logs/ has logs of Debian's kernels, from guests that were crashed in
 * each of these ways; of the boot only what is of interest is in them. With an
 * argument the report on that log is printed.
 */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "oops.h"

static char *read_log(const char *name)
{
    const char *dir = g_getenv("FADUMP_KERNEL_LOGS");
    g_autofree char *path = g_build_filename(dir ? dir : "kernel-logs", name,
                                             NULL);
    char *text;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static Oops *parse(const char *text)
{
    return oops_parse(text, strlen(text));
}

/* Some text of a log replaced, each time it comes */
static char *replace(const char *text, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);

    g_assert_cmpuint(g_strv_length(parts), >, 1);
    return g_strjoinv(to, parts);
}

static char *frames(const Oops *oops)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < oops->nr_frames; i++) {
        g_string_append_printf(text, "%s%s", i ? " " : "", oops->frames[i]);
    }
    return g_string_free(text, FALSE);
}

#define KERNEL_6_1 "6.1.0-56-amd64"
#define KERNEL_6_12 "6.12.117+deb12-amd64"

static const struct {
    const char *log;
    const char *release;
    const char *cause;
    const char *panic;
    const char *message;
    const char *function;
    const char *frames;
    const char *comm;
} samples[] = {
    {
        "sysrq-6.1.log", KERNEL_6_1,
        "Kernel panic - not syncing: sysrq triggered crash",
        "Kernel panic - not syncing: sysrq triggered crash",
        "Kernel panic - not syncing: sysrq triggered crash", NULL,
        "sysrq_handle_crash __handle_sysrq write_sysrq_trigger proc_reg_write "
        "vfs_write ksys_write", "sh",
    }, {
        "null-6.1.log", KERNEL_6_1,
        "BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "Kernel panic - not syncing: Fatal exception",
        "BUG: kernel NULL pointer dereference, address: #", "crash_null",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "null-6.12.log", KERNEL_6_12,
        "BUG: kernel NULL pointer dereference, address: 0000000000000018",
        "Kernel panic - not syncing: Fatal exception",
        "BUG: kernel NULL pointer dereference, address: #", "crash_null",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "fault-6.12.log", KERNEL_6_12,
        "BUG: unable to handle page fault for address: ffffc90000dead00",
        "Kernel panic - not syncing: Fatal exception",
        "BUG: unable to handle page fault for address: #", "crash_null",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "gpf-6.1.log", KERNEL_6_1,
        "general protection fault, probably for non-canonical address "
        "0xdead000000000122: 0000 [#1] PREEMPT SMP NOPTI",
        "Kernel panic - not syncing: Fatal exception",
        "general protection fault, probably for non-canonical address #: #",
        "crash_null",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "div-6.12.log", KERNEL_6_12,
        "Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI",
        "Kernel panic - not syncing: Fatal exception", "divide error: #",
        "crash_div",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "bug-6.1.log", KERNEL_6_1,
        "kernel BUG at /build/ctl-crash/ctl_crash.c:10!",
        "Kernel panic - not syncing: Fatal exception",
        "kernel BUG at ctl_crash.c:#!", "crash_bug",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "bug-6.12.log", KERNEL_6_12,
        "kernel BUG at /build/ctl-crash/ctl_crash.c:10!",
        "Kernel panic - not syncing: Fatal exception",
        "kernel BUG at ctl_crash.c:#!", "crash_bug",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "hung-6.1.log", KERNEL_6_1,
        "INFO: task sh:151 blocked for more than 4 seconds.",
        "Kernel panic - not syncing: hung_task: blocked tasks",
        "INFO: task * blocked for more than # seconds.", NULL,
        "__mutex_lock w full_proxy_write vfs_write ksys_write do_syscall_64",
        "sh",
    }, {
        "soft-6.1.log", KERNEL_6_1,
        "watchdog: BUG: soft lockup - CPU#0 stuck for 6s! [sh:151]",
        "Kernel panic - not syncing: softlockup: hung tasks",
        "watchdog: BUG: soft lockup - CPU## stuck for #s!", "crash_spin",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "nmi-6.1.log", KERNEL_6_1,
        "Uhhuh. NMI received for unknown reason 21 on CPU 0.",
        "Kernel panic - not syncing: NMI: Not continuing",
        "Uhhuh. NMI received for unknown reason # on CPU #.", NULL,
        "unknown_nmi_error", "swapper/0",
    }, {
        "warn-6.12.log", KERNEL_6_12,
        "WARNING: CPU: 1 PID: 199 at /build/ctl-crash/ctl_crash.c:13 "
        "crash_warn+0x2d/0x40 [ctl_crash]",
        "Kernel panic - not syncing: kernel: panic_on_warn set ...",
        "WARNING: CPU: # PID: # at ctl_crash.c:# crash_warn [ctl_crash]",
        "crash_warn",
        "w full_proxy_write vfs_write ksys_write do_syscall_64 "
        "entry_SYSCALL_64_after_hwframe", "sh",
    }, {
        "panic-6.12.log", KERNEL_6_12,
        "Kernel panic - not syncing: ctl: disk sda3 lost, code 17, at "
        "ffffffffc06b2580",
        "Kernel panic - not syncing: ctl: disk sda3 lost, code 17, at "
        "ffffffffc06b2580",
        "Kernel panic - not syncing: ctl: disk sda3 lost, code #, at #", NULL,
        "crash_panic w full_proxy_write vfs_write ksys_write do_syscall_64",
        "sh",
    },
};

static void test_samples(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *text = read_log(samples[i].log);
        g_autoptr(Oops) oops = parse(text);
        g_autofree char *stack = frames(oops);

        g_test_message("%s", samples[i].log);
        g_assert_cmpstr(oops->release, ==, samples[i].release);
        g_assert_cmpstr(oops->cause, ==, samples[i].cause);
        g_assert_cmpstr(oops->panic, ==, samples[i].panic);
        g_assert_cmpstr(oops->message, ==, samples[i].message);
        g_assert_cmpstr(oops->function, ==, samples[i].function);
        g_assert_cmpstr(stack, ==, samples[i].frames);
        g_assert_cmpstr(oops->comm, ==, samples[i].comm);
        g_assert_cmpfloat(oops->uptime, >, 3);
        g_assert_cmpfloat(oops->uptime, <, 60);
        g_assert_cmpuint(strlen(oops->signature), ==, 16);
    }
}


static const Oops *sign(const char *text)
{
    static Oops *last;

    if (last) {
        oops_free(last);
    }
    last = text ? parse(text) : NULL;
    return last;
}

static void assert_same(const char *a, const char *b, bool same)
{
    g_autofree char *first = g_strdup(sign(a)->signature);
    g_autofree char *second = g_strdup(sign(b)->signature);

    g_assert_nonnull(first);
    g_assert_nonnull(second);
    if (same) {
        g_assert_cmpstr(first, ==, second);
    } else {
        g_assert_cmpstr(first, !=, second);
    }
    sign(NULL);
}

/* The same crash at another time, by another task, on another CPU */
static void test_equal(void)
{
    static const char *const edits[][2] = {
        { "PID: 151", "PID: 20481" },
        { "CPU: 1", "CPU: 63" },
        { "Comm: sh", "Comm: kworker/u8:3 x" },
        { "[    6.", "[ 9876." },
        { "+0x5/", "+0x45/" },
        { "0000000000000018", "0000000000000020" },
        { "0000 [#1]", "0002 [#2]" },
        { "\n[", "\n<4>[" },
        { "] ", "][  T151] " },
        { "] ", "][    C1] " },
        { "do_syscall_64+", "do_syscall_64.isra.0+" },
        { "full_proxy_write+", "full_proxy_write.constprop.0.cold+" },
        { "  <TASK>", "  <TASK>\n  ? show_regs+0x1/0x2\n  __die+0x1/0x2\n"
          "  page_fault_oops+0x12/0x345" },
        { "w+0x89/0xf1 [ctl_crash]", "w+0x91/0xff [ctl_crash 0123456789]" },
        { "\n", "\r\n" },
    };
    g_autofree char *text = read_log("null-6.1.log");
    g_autofree char *other = read_log("null-6.12.log");

    for (gsize i = 0; i < G_N_ELEMENTS(edits); i++) {
        g_autofree char *edited = replace(text, edits[i][0], edits[i][1]);

        g_test_message("%s", edits[i][1]);
        assert_same(text, edited, true);
    }
    assert_same(text, other, true);
    {
        g_autofree char *bug = read_log("bug-6.1.log");
        g_autofree char *bug_12 = read_log("bug-6.12.log");

        assert_same(bug, bug_12, true);
    }
    {
        g_autofree char *soft = read_log("soft-6.1.log");
        g_autofree char *edited = replace(soft, "CPU#0 stuck for 6s! [sh:151]",
                                          "CPU#3 stuck for 26s! [a b:c:9]");

        assert_same(soft, edited, true);
    }
    {
        g_autofree char *hung = read_log("hung-6.1.log");
        g_autofree char *edited = replace(hung, "task sh:151 blocked",
                                          "task a:b blocked c:77 blocked");

        assert_same(hung, edited, true);
    }
}

static void test_different(void)
{
    static const char *const edits[][2] = {
        { "RIP: 0010:crash_null", "RIP: 0010:crash_other" },
        { "vfs_write", "vfs_read" },
        { "BUG: kernel NULL pointer dereference, address",
          "BUG: unable to handle page fault for address" },
    };
    g_autofree char *text = read_log("null-6.1.log");
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(edits); i++) {
        g_autofree char *edited = replace(text, edits[i][0], edits[i][1]);

        assert_same(text, edited, false);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *sample = read_log(samples[i].log);

        g_hash_table_add(seen, g_strdup(sign(sample)->signature));
    }
    sign(NULL);
    /* all but the two that are there for both kernels */
    g_assert_cmpuint(g_hash_table_size(seen), ==, G_N_ELEMENTS(samples) - 2);
}

/* Signatures are compared with those that were made by earlier versions. */
static void test_stable(void)
{
    g_autofree char *text = read_log("null-6.1.log");

    g_assert_cmpstr(sign(text)->signature, ==, "dbfae459486fe811");
    sign(NULL);
}

static void test_normalise(void)
{
    static const char *const cases[][2] = {
        { "", "" },
        { "a  b\tc", "a b c" },
        { "code 17, 0x1f and 1f", "code #, # and #" },
        { "sda3 i915 ext4_fs dead beef", "sda3 i915 ext4_fs dead beef" },
        { "ffff88810a0b0c0d deadbeef", "# #" },
        { "cpu3 CPU12 CPU 4 CPU#5", "cpu# CPU# CPU # CPU##" },
        { "WARNING: CPU: 1 PID: 5 at /a/b-1/c.c:13 f.isra.0+0x2d/0x40 [m]",
          "WARNING: CPU: # PID: # at c.c:# f [m]" },
        { "kernel BUG at fs/ext4/inode.c:1234!",
          "kernel BUG at fs/ext4/inode.c:#!" },
        { "Oops: Oops: 0002 [#1] SMP", "Oops: #" },
        { "Oops: int3: 0000 [#1] SMP", "int3: #" },
        { "unknown-block(0,0)", "unknown-block(#,#)" },
        { "0x", "#x" },
        { "0xg +0x", "#xg +#x" },
        { "x+0x", "x+#x" },
        { "\001a\033[31m", "?a?[#m" },
        { "/", "" },
        { "soft lockup", "soft lockup" },
        { "INFO: task", "INFO: task" },
        { "INFO: task blocked for ", "INFO: task * blocked for" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = oops_normalise(cases[i][0]);

        g_assert_cmpstr(got, ==, cases[i][1]);
    }
}

static void test_frame(void)
{
    static const char *const cases[][2] = {
        { " vfs_write+0xc7/0x3f0", "vfs_write" },
        { "  w+0x89/0xf1 [ctl_crash]", "w" },
        { " foo.isra.0.cold+0x1/0x2", "foo" },
        { " .foo+0x1/0x2", ".foo" },
        { " [<ffffffff81234567>] old_style+0x1/0x2", "old_style" },
        { " ? maybe+0x1/0x2", NULL },
        { " [<ffffffff81234567>] ? maybe+0x1/0x2", NULL },
        { " [<ffffffff81234567 cut+0x1/0x2", NULL },
        { " 0xffffffffc0001234", NULL },
        { " no_offset", NULL },
        { " half+0x12", NULL },
        { " half+0x12/", NULL },
        { " <TASK>", NULL },
        { "RIP: 0033:0x47b7a0", NULL },
        { "", NULL },
        { "   ", NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = oops_frame(cases[i][0]);

        g_assert_cmpstr(got, ==, cases[i][1]);
    }
}

/* Which of several reports led to the panic */
static void test_cause(void)
{
    g_autoptr(Oops) oops = NULL;

    /* an oops that did not kill, and later another that did */
    oops = parse("[    1.0] BUG: first\n"
                 "[    1.0] Oops: 0000 [#1] SMP\n"
                 "[    1.0] RIP: 0010:one+0x1/0x2\n"
                 "[    1.0] Call Trace:\n"
                 "[    1.0]  one_caller+0x1/0x2\n"
                 "[    1.0] ---[ end trace 0 ]---\n"
                 "[    1.0] RIP: 0010:one+0x1/0x2\n"
                 "[    2.0] BUG: second\n"
                 "[    2.0] RIP: 0010:two+0x1/0x2\n"
                 "[    2.0] Call Trace:\n"
                 "[    2.0]  <IRQ>\n"
                 "[    2.0]  timer+0x1/0x2\n"
                 "[    2.0]  </IRQ>\n"
                 "[    2.0]  <TASK>\n"
                 "[    2.0]  innocent+0x1/0x2\n"
                 "[    2.0] ---[ end trace 0 ]---\n"
                 "[    2.1] Kernel panic - not syncing: Fatal exception in "
                 "interrupt\n"
                 "[    2.1] BUG: third\n");
    g_assert_cmpstr(oops->cause, ==, "BUG: second");
    g_assert_cmpstr(oops->function, ==, "two");
    g_assert_cmpuint(oops->nr_frames, ==, 1);
    g_assert_cmpstr(oops->frames[0], ==, "timer");
    g_assert_cmpfloat(oops->uptime, ==, 2.0);
    g_clear_pointer(&oops, oops_free);

    /* init ends, which an oops of another task before has not to do with */
    oops = parse("[1.0] BUG: first\n"
                 "[1.0] CPU: 0 PID: 77 Comm: x Not tainted 5.10.0 #1\n"
                 "[1.0] RIP: 0010:one+0x1/0x2\n"
                 "[2.0] Kernel panic - not syncing: Attempted to kill init! "
                 "exitcode=0x00000009\n"
                 "[2.0] CPU: 1 PID: 1 Comm: init Not tainted 5.10.0 #1\n"
                 "[2.0] Call Trace:\n"
                 "[2.0]  dump_stack+0x1/0x2\n"
                 "[2.0]  panic+0x1/0x2\n"
                 "[2.0]  do_exit.cold+0x1/0x2\n");
    g_assert_cmpstr(oops->message, ==, "Kernel panic - not syncing: Attempted "
                    "to kill init! exitcode=#");
    g_assert_cmpstr(oops->frames[0], ==, "do_exit");
    g_assert_null(oops->function);
    g_assert_cmpstr(oops->comm, ==, "init");
    g_assert_cmpint(oops->pid, ==, 1);
    g_assert_cmpint(oops->cpu, ==, 1);
    g_assert_cmpstr(oops->release, ==, "5.10.0");
    g_clear_pointer(&oops, oops_free);

    /* a sanitizer's report with panic_on_warn */
    oops = parse("[1.0] WARNING: CPU: 0 PID: 1 at a.c:1 old+0x1/0x2\n"
                 "[2.0] BUG: KASAN: use-after-free in f+0x12/0x34\n"
                 "[2.0] Call Trace:\n"
                 "[2.0]  g+0x1/0x2\n"
                 "[2.1] Kernel panic - not syncing: KASAN: panic_on_warn set "
                 "...\n");
    g_assert_cmpstr(oops->message, ==, "BUG: KASAN: use-after-free in f");
    g_clear_pointer(&oops, oops_free);

    /* reset by a watchdog: no panic, and an oops that may be the reason */
    oops = parse("[1.0] BUG: first\n[9.0] something\n");
    g_assert_cmpstr(oops->cause, ==, "BUG: first");
    g_assert_null(oops->panic);
}

/* Logs that have no crash, or nothing else */
static void test_none(void)
{
    static const char *const logs[] = {
        "", "\n", "\n\n\n", "[", "[ ", "[]", "<", "<6>", "[    1.0]",
        "[    1.000000] systemd[1]: Reached target Basic System.\n",
        "[    1.0] WARNING: CPU: 0 PID: 1 at a.c:1 old+0x1/0x2\n",
        "user space says: Kernel panic - not syncing: no\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(logs); i++) {
        g_autoptr(Oops) oops = parse(logs[i]);

        g_assert_null(oops->cause);
        g_assert_null(oops->signature);
        g_assert_cmpuint(oops->nr_frames, ==, 0);
    }
    {
        g_autoptr(Oops) oops = parse("[    5.5] Kernel panic - not syncing: "
                                     "x");

        g_assert_nonnull(oops->signature);
        g_assert_cmpuint(oops->nr_frames, ==, 0);
        g_assert_cmpfloat(oops->uptime, ==, 5.5);
    }
}

static void assert_printable(const char *text)
{
    if (text) {
        g_assert_true(g_utf8_validate(text, -1, NULL));
        for (const char *p = text; *p; p++) {
            g_assert_true((guchar)*p >= ' ' && *p != 127);
        }
        g_assert_cmpuint(strlen(text), <, 4096);
    }
}

static void check(const char *log, gsize len)
{
    /* a copy of just that size: tools see a read beyond it */
    g_autofree char *copy = g_memdup2(log, len);
    g_autoptr(Oops) oops = oops_parse(copy ? copy : "", len);

    assert_printable(oops->release);
    assert_printable(oops->cause);
    assert_printable(oops->panic);
    assert_printable(oops->message);
    assert_printable(oops->function);
    assert_printable(oops->comm);
    for (guint i = 0; i < oops->nr_frames; i++) {
        assert_printable(oops->frames[i]);
    }
    g_assert_cmpint(!oops->cause, ==, !oops->signature);
}

static void test_hostile(void)
{
    static const char *const logs[] = {
        "[1.0] Kernel panic - not syncing: \xff\xfe\x80 \033[2J \xc3\n",
        "[1.0] Linux version \xff\033]0;x\007 y\n",
        "[1.0] Kernel panic - not syncing: \xe2\x80\xae txt\n",
        "[1.0] INFO: task  blocked for more than 1 seconds.\n",
        "[1.0] INFO: task blocked for more than 1 seconds.\n",
        "[1.0] INFO: task \xff:99999999999999999999 blocked for more than x\n",
        "[1.0] BUG: x\nCPU:  PID:  Comm:  Not tainted  #\n",
        "[1.0] BUG: x\nCPU: -1 PID: -2 Comm: Tainted: # Tainted: #\n",
        "[1.0] BUG: x\nCPU: 1 PID: 2 Comm: Not tainted #\n",
        "[1.0] BUG: x\nRIP: 0010:\nRIP: 0010:+0x/0x\nRIP: 0010:a+0x/0x\n",
        "[1e999] BUG: x\n", "[.......] BUG: x\n", "[1 2] BUG: x\n",
        "[1.0][ T] BUG: x\n", "[1.0][ T1 BUG: x\n", "<999999> BUG: x\n",
        ": 0 [#1\n", " [#1]\n", "a: [#1]\n", "[#\n",
        "[1.0] Kernel panic - not syncing: [#1] [# [#\n",
    };
    g_autofree char *null = read_log("null-6.1.log");
    g_autoptr(GString) text = g_string_new(NULL);
    gsize len = strlen(null);

    for (gsize i = 0; i < G_N_ELEMENTS(logs); i++) {
        check(logs[i], strlen(logs[i]));
    }
    check("Kernel panic - not syncing: a\0b\nc", 32);

    /* one line of 8 MiB, with and without what is looked for */
    g_string_append(text, "[1.0] Kernel panic - not syncing: ");
    while (text->len < 8 << 20) {
        g_string_append(text, "/0x1/CPU1 x+0x1/0x2 [# ");
    }
    check(text->str, text->len);
    g_string_truncate(text, 0);
    g_string_append(text, "BUG: x\nCall Trace:\n ");
    for (int i = 0; i < 1 << 20; i++) {
        g_string_append_c(text, 'a');
    }
    g_string_append(text, "+0x1/0x2\n b+0x1/0x2\n");
    check(text->str, text->len);
    g_assert_cmpstr(sign(text->str)->frames[0], ==, "b");
    sign(NULL);

    /* a hundred thousand reports */
    g_string_truncate(text, 0);
    for (int i = 0; i < 100000; i++) {
        g_string_append(text, "BUG: x\nRIP: 0010:a+0x1/0x2\n");
    }
    g_string_append(text, "Kernel panic - not syncing: Fatal exception\n");
    check(text->str, text->len);

    /* cut off anywhere */
    for (gsize i = 0; i <= len; i++) {
        check(null, i);
        check(null + i, len - i);
    }
}

/* Logs with some bytes changed, and bytes that are none */
static void test_fuzz(void)
{
    for (int round = 0; round < 3000; round++) {
        int which = g_test_rand_int_range(0, G_N_ELEMENTS(samples));
        g_autofree char *text = read_log(samples[which].log);
        gsize len = strlen(text);
        int n = g_test_rand_int_range(1, 64);

        while (n--) {
            gsize at = g_test_rand_int_range(0, len);

            switch (g_test_rand_int_range(0, 3)) {
            case 0:
                text[at] = g_test_rand_int();
                break;
            case 1:
                text[at] = "[]:+#\n ?/0x<>"[g_test_rand_int_range(0, 13)];
                break;
            default:
                memmove(text + at, text + len / 2,
                        MIN(len - at, len - len / 2));
                break;
            }
        }
        check(text, len);
    }
    for (int round = 0; round < 300; round++) {
        gsize len = g_test_rand_int_range(0, 5000);
        g_autofree char *bytes = g_malloc(len + 1);

        for (gsize i = 0; i < len; i++) {
            bytes[i] = g_test_rand_int();
        }
        check(bytes, len);
    }
}

static int print(const char *path)
{
    g_autofree char *text = NULL, *stack = NULL;
    g_autoptr(Oops) oops = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    oops = oops_parse(text, len);
    stack = frames(oops);
    printf("%s\ncause %s\npanic %s\nmessage %s\nfunction %s\nframes %s\n"
           "task %s\nuptime %f\nsignature %s\n", oops->release, oops->cause,
           oops->panic, oops->message, oops->function, stack, oops->comm,
           oops->uptime, oops->signature);
    return 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc > 1) {
        return print(argv[1]);
    }
    g_test_add_func("/ctl/oops/samples", test_samples);
    g_test_add_func("/ctl/oops/equal", test_equal);
    g_test_add_func("/ctl/oops/different", test_different);
    g_test_add_func("/ctl/oops/stable", test_stable);
    g_test_add_func("/ctl/oops/normalise", test_normalise);
    g_test_add_func("/ctl/oops/frame", test_frame);
    g_test_add_func("/ctl/oops/cause", test_cause);
    g_test_add_func("/ctl/oops/none", test_none);
    g_test_add_func("/ctl/oops/hostile", test_hostile);
    g_test_add_func("/ctl/oops/fuzz", test_fuzz);
    return g_test_run();
}
