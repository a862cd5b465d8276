/*
 * fadump-ctl: finding the crash in a kernel log, and giving it a signature
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No file is read here and nothing is printed. The log is a guest's: it may
 * hold anything.
 *
 * The signature is made of the message without numbers, the function that
 * faulted and its innermost callers. Offsets, addresses, tasks and CPUs are
 * left out, so that the same defect has the same signature in another guest
 * and, mostly, in another build of the kernel.
 */

#include <stdbool.h>
#include <string.h>
#include "ctl.h"
#include "oops.h"

/* What is said in a line comes early in it. */
#define LINE_MAX_LEN 1024
#define MESSAGE_MAX_LEN 256
#define SYMBOL_MAX_LEN 128
/* Lines from "BUG:" to the "Oops:" of the same fault, and to its registers */
#define HEADER_LINES 12
/* An event's own backtrace is not further from it than this. */
#define EVENT_LINES 400

typedef enum EventKind {
    EVENT_NONE,
    EVENT_OOPS,
    EVENT_SOFT_LOCKUP,
    EVENT_HARD_LOCKUP,
    EVENT_HUNG_TASK,
    EVENT_RCU_STALL,
    EVENT_WARNING,
    EVENT_NMI,
    EVENT_PANIC,
} EventKind;

/* Something that the kernel reports with registers and a backtrace. */
typedef struct Event {
    EventKind kind;
    char *text;
    double time;
    gsize line;
    char *function;
    char *frames[OOPS_FRAMES];
    guint nr_frames;
    char *comm;
    gint64 pid, cpu;
    bool trace_begun, trace_ended;
} Event;

static const struct {
    const char *prefix;
    EventKind kind;
} headers[] = {
    { "Kernel panic - not syncing: ", EVENT_PANIC },
    { "BUG: soft lockup", EVENT_SOFT_LOCKUP },
    { "BUG: ", EVENT_OOPS },
    { "kernel BUG at ", EVENT_OOPS },
    { "Oops: ", EVENT_OOPS },
    { "general protection fault", EVENT_OOPS },
    { "Unable to handle kernel ", EVENT_OOPS },
    { "Internal error: ", EVENT_OOPS },
    { "PANIC: double fault", EVENT_OOPS },
    { "Watchdog detected hard LOCKUP", EVENT_HARD_LOCKUP },
    { "INFO: rcu", EVENT_RCU_STALL },
    { "WARNING: ", EVENT_WARNING },
    { "UBSAN: ", EVENT_WARNING },
    { "Uhhuh. NMI received", EVENT_NMI },
    { "NMI: ", EVENT_NMI },
};

/* Subsystems whose names come before those */
static const char *const subsystems[] = {
    "watchdog: ", "NMI watchdog: ", "rcu: ", "traps: ",
};

/* A panic that only tells the end of what was reported before */
static const struct {
    const char *text;
    EventKind kind;
} consequences[] = {
    { "Fatal exception", EVENT_OOPS },
    { "Aiee, killing interrupt handler", EVENT_OOPS },
    { "Attempted to kill", EVENT_OOPS },
    { "Oops", EVENT_OOPS },
    { "softlockup: hung tasks", EVENT_SOFT_LOCKUP },
    { "Hard LOCKUP", EVENT_HARD_LOCKUP },
    { "hung_task: blocked tasks", EVENT_HUNG_TASK },
    { "RCU Stall", EVENT_RCU_STALL },
    { "panic_on_warn set", EVENT_WARNING },
    { "NMI: Not continuing", EVENT_NMI },
    { "NMI IOCK error", EVENT_NMI },
};

/* Functions that report crashes, or wait: they are in all such backtraces. */
static const char *const machinery[] = {
    "__crash_kexec", "__die", "__die_body", "__panic", "__schedule",
    "__show_regs", "__stack_chk_fail", "__warn", "__warn_printk",
    "bad_area", "bad_area_nosemaphore", "check_panic_on_warn", "crash_kexec",
    "default_do_nmi", "die", "die_addr", "dump_stack", "dump_stack_lvl",
    "end_repeat_nmi", "error_entry", "first_nmi", "fixup_exception",
    "handle_bug", "handle_stack_overflow", "invalid_op", "io_schedule",
    "io_schedule_timeout", "kernelmode_fixup_or_oops", "nmi", "nmi_handle",
    "nmi_panic", "no_context", "oops_begin", "oops_end", "oops_enter",
    "oops_exit", "page_fault", "page_fault_oops", "panic", "panic_print",
    "report_bug", "schedule", "schedule_preempt_disabled",
    "schedule_timeout", "search_exception_tables", "show_regs",
    "show_stack", "show_trace_log_lvl", "vpanic", "warn_slowpath_fmt",
    "warn_slowpath_null",
};

static const char *const machinery_prefixes[] = {
    "__bad_area", "__do_page_fault", "__exc_", "__ia32_sys_", "__sysvec_",
    "asm_", "do_error_trap", "do_exc_", "do_kern_addr_fault",
    "do_page_fault", "do_trap", "do_user_addr_fault", "exc_", "sysvec_",
    "xen_asm_exc_",
};

static bool is_machinery(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(machinery); i++) {
        if (!strcmp(name, machinery[i])) {
            return true;
        }
    }
    for (gsize i = 0; i < G_N_ELEMENTS(machinery_prefixes); i++) {
        if (g_str_has_prefix(name, machinery_prefixes[i])) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ */
/* Lines                                                              */

/*
 * Skip what printk and the tools put before the text: "<4>[    1.234567] " and
 * with it "[ T123] " or "[C0] ".
 */
static const char *skip_prefix(const char *line, double *time)
{
    const char *p = line, *end;
    char *after;

    *time = -1;
    if (*p == '<' && g_ascii_isdigit(p[1])) {
        end = strchr(p, '>');
        if (end && end - p < 6) {
            p = end + 1;
        }
    }
    if (*p != '[') {
        return p;
    }
    end = p + 1 + strspn(p + 1, " 0123456789.");
    if (*end != ']' || end == p + 1) {
        return p;
    }
    *time = g_ascii_strtod(p + 1, &after);
    if (after != end) {
        *time = -1;
        return p;
    }
    p = end + 1;
    if (*p == '[') {
        end = p + 1 + strspn(p + 1, " ");
        if ((*end == 'T' || *end == 'C') && g_ascii_isdigit(end[1])) {
            end += 1 + strspn(end + 1, "0123456789");
            end += strspn(end, " ");
            if (*end == ']') {
                p = end + 1;
            }
        }
    }
    return p + (*p == ' ');
}

static gsize symbol_len(const char *p)
{
    gsize n = 0;

    if (g_ascii_isdigit(*p)) {
        return 0;
    }
    while (g_ascii_isalnum(p[n]) || p[n] == '_' || p[n] == '.' ||
           p[n] == '$') {
        n++;
    }
    return n;
}

/* "name+0x12/0x34": the name without what the compiler has put behind it */
static char *symbol(const char *p)
{
    gsize n = symbol_len(p);
    const char *dot, *q = p + n;

    if (!n || n > SYMBOL_MAX_LEN || !g_str_has_prefix(q, "+0x")) {
        return NULL;
    }
    q += 3 + strspn(q + 3, "0123456789abcdef");
    if (!g_str_has_prefix(q, "/0x")) {
        return NULL;
    }
    /* .isra.0, .constprop.0, .part.0, .cold, .llvm.123 */
    dot = memchr(p + 1, '.', n - 1);
    return g_strndup(p, dot ? (gsize)(dot - p) : n);
}

char *oops_frame(const char *line)
{
    const char *p = line + strspn(line, " ");

    /* older kernels: " [<ffffffff81234567>] name+0x12/0x34" */
    if (g_str_has_prefix(p, "[<")) {
        const char *end = strstr(p, ">]");

        if (!end) {
            return NULL;
        }
        p = end + 2;
        p += strspn(p, " ");
    }
    /* "? name": a leftover of the stack */
    return symbol(p);
}

/* ------------------------------------------------------------------ */
/* Messages                                                           */

static bool is_word(char c)
{
    return g_ascii_isalnum(c) || c == '_';
}

/* How many characters at @p, the beginning of a word, are a number. */
static gsize number_len(const char *p)
{
    gsize n;

    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X') &&
        g_ascii_isxdigit(p[2])) {
        n = 2;
        while (g_ascii_isxdigit(p[n])) {
            n++;
        }
        return n;
    }
    for (n = 0; g_ascii_isxdigit(p[n]); n++) {
        ;
    }
    /* an address, or a number with a letter in it */
    if (!is_word(p[n]) && (n >= 8 || g_ascii_isdigit(*p))) {
        return n;
    }
    return strspn(p, "0123456789");
}

static const char *skip_directories(const char *p)
{
    const char *base = p;

    for (; *p && *p != ' ' && *p != ':'; p++) {
        if (*p == '/') {
            base = p + 1;
        }
    }
    return base;
}

char *oops_normalise(const char *message)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_autofree char *text = g_strndup(message, LINE_MAX_LEN);
    char *p = text, *cut;
    char before = ' ';

    /* 6.10 and later say "Oops: " before each fault's name */
    while (g_str_has_prefix(p, "Oops: ") && g_ascii_isalpha(p[6])) {
        p += 6;
    }
    /* "[#1] PREEMPT SMP": how many before, and how the kernel was built */
    cut = strstr(p, " [#");
    if (cut) {
        *cut = 0;
    }
    /* the names of tasks */
    if (g_str_has_prefix(p, "INFO: task ")) {
        cut = strstr(p, " blocked for ");
        if (cut) {
            g_string_append(out, "INFO: task *");
            before = '*';
            p = cut;
        }
    } else if (strstr(p, "soft lockup") && strchr(p, '!')) {
        *(strchr(p, '!') + 1) = 0;
    }

    while (*p && out->len < MESSAGE_MAX_LEN) {
        bool starts = !is_word(before);
        g_autofree char *name = NULL;
        gsize n;

        if (g_ascii_isspace(*p)) {
            if (before != ' ') {
                g_string_append_c(out, ' ');
            }
            before = ' ';
            p++;
            continue;
        }
        if (*p == '/' && (before == ' ' || before == '(')) {
            p = (char *)skip_directories(p);
            before = '/';
            continue;
        }
        name = starts ? symbol(p) : NULL;
        if (name) {
            g_string_append(out, name);
            /* the offset and the size */
            p = strchr(p, '+') + 1;
            p += number_len(p) + 1;
            p += number_len(p);
            before = ')';
            continue;
        }
        if (starts && !g_ascii_strncasecmp(p, "cpu", 3) &&
            g_ascii_isdigit(p[3])) {
            g_string_append_len(out, p, 3);
            p += 3;
            starts = true;
        }
        n = starts ? number_len(p) : 0;
        if (n) {
            g_string_append_c(out, '#');
            p += n;
            before = '#';
            continue;
        }
        before = *p;
        g_string_append_c(out, *p++);
    }
    g_strchomp(out->str);
    return ctl_printable(out->str, -1);
}

/* ------------------------------------------------------------------ */
/* Events                                                             */

static gint64 number(const char *text)
{
    return MIN(g_ascii_strtoull(text, NULL, 10), G_MAXINT32);
}

static void event_free(void *opaque)
{
    Event *event = opaque;

    g_free(event->text);
    g_free(event->function);
    g_free(event->comm);
    for (guint i = 0; i < event->nr_frames; i++) {
        g_free(event->frames[i]);
    }
    g_free(event);
}

static EventKind header_kind(const char *text)
{
    const char *count;

    for (gsize i = 0; i < G_N_ELEMENTS(subsystems); i++) {
        if (g_str_has_prefix(text, subsystems[i])) {
            text += strlen(subsystems[i]);
            break;
        }
    }
    for (gsize i = 0; i < G_N_ELEMENTS(headers); i++) {
        if (g_str_has_prefix(text, headers[i].prefix)) {
            return headers[i].kind;
        }
    }
    if (g_str_has_prefix(text, "INFO: task ") &&
        strstr(text, " blocked for more than ")) {
        return EVENT_HUNG_TASK;
    }
    /* "divide error: 0000 [#1] PREEMPT SMP" */
    count = strstr(text, " [#");
    if (count && count > text && g_ascii_isxdigit(count[-1]) &&
        g_ascii_isdigit(count[3]) && strchr(text, ':')) {
        return EVENT_OOPS;
    }
    return EVENT_NONE;
}

/* "CPU: 1 UID: 0 PID: 151 Comm: sh Tainted: G  OE  6.1.0-56-amd64 #1 Debian" */
static void take_task(Event *event, char **release, const char *text)
{
    const char *pid = strstr(text, " PID: ");
    const char *comm = strstr(text, " Comm: ");
    const char *taint, *end, *p;

    if (!pid || !comm || comm < pid) {
        return;
    }
    taint = g_strrstr(comm, " Not tainted ");
    if (!taint) {
        taint = g_strrstr(comm, " Tainted: ");
    }
    if (!taint) {
        return;
    }
    if (event && event->cpu < 0) {
        event->cpu = number(text + strlen("CPU: "));
        event->pid = number(pid + strlen(" PID: "));
        comm += strlen(" Comm: ");
        if (!event->comm && comm <= taint) {
            event->comm = ctl_printable(comm, MIN(taint - comm, 64));
        }
    }
    end = strstr(taint, " #");
    if (end && !*release) {
        for (p = end; p > taint && p[-1] != ' '; p--) {
            ;
        }
        if (g_ascii_isdigit(*p)) {
            *release = ctl_printable(p, MIN(end - p, 65));
        }
    }
}

/* "INFO: task NAME:PID blocked for more than": the name may hold anything */
static void take_hung_task(Event *event)
{
    const char *name = event->text + strlen("INFO: task ");
    const char *end = strstr(name, " blocked for ");
    const char *colon = end;

    /* no name at all: " blocked for " begins with the space before it */
    if (!end) {
        return;
    }
    while (colon > name && *colon != ':') {
        colon--;
    }
    if (*colon == ':') {
        event->comm = ctl_printable(name, MIN(colon - name, 64));
        event->pid = number(colon + 1);
    }
}

static Event *event_new(EventKind kind, const char *text, double time,
                        gsize line)
{
    Event *event = g_new0(Event, 1);

    event->kind = kind;
    event->text = g_strdup(text);
    event->time = time;
    event->line = line;
    event->pid = event->cpu = -1;
    if (kind == EVENT_HUNG_TASK) {
        take_hung_task(event);
    }
    return event;
}

/* Whether a header continues what the event before it has begun. */
static bool same_event(const Event *event, EventKind kind, gsize line)
{
    return event && kind == EVENT_OOPS && event->kind == EVENT_OOPS &&
           !event->function && !event->trace_begun && !event->trace_ended &&
           line - event->line <= HEADER_LINES;
}

static void take_line(Event *event, const char *text)
{
    const char *p = text + strspn(text, " ");
    g_autofree char *name = NULL;

    if (g_str_has_prefix(p, "---[ end ")) {
        event->trace_ended = true;
        return;
    }
    if (event->trace_ended) {
        return;
    }
    if (g_str_has_prefix(p, "Call Trace:") ||
        g_str_has_prefix(p, "Call trace:")) {
        /* of another CPU, or of the next task that is shown */
        event->trace_ended = event->trace_begun;
        event->trace_begun = true;
        return;
    }
    if (!event->trace_begun) {
        /* in a backtrace it is what an interrupt came upon */
        if (!event->function && g_str_has_prefix(p, "RIP: 0010:")) {
            event->function = symbol(p + strlen("RIP: 0010:"));
        } else if (!event->function && g_str_has_prefix(p, "pc : ")) {
            event->function = symbol(p + strlen("pc : "));
        }
        return;
    }
    if (g_str_has_prefix(p, "</TASK>") ||
        g_str_has_prefix(p, "Modules linked in:") ||
        g_str_has_prefix(p, "Kernel Offset:")) {
        event->trace_ended = true;
        return;
    }
    /* what was interrupted has nothing to do with a crash of the interrupt */
    if (event->nr_frames && (g_str_has_prefix(p, "</IRQ>") ||
                             g_str_has_prefix(p, "</SOFTIRQ>") ||
                             g_str_has_prefix(p, "</NMI>"))) {
        event->trace_ended = true;
        return;
    }
    name = oops_frame(p);
    if (!name || is_machinery(name)) {
        return;
    }
    event->frames[event->nr_frames++] = g_steal_pointer(&name);
    event->trace_ended = event->nr_frames == OOPS_FRAMES;
}

/* The last event of a kind before an index; -1 for any that kills. */
static Event *last_event(GPtrArray *events, guint before, EventKind kind)
{
    for (guint i = before; i > 0; i--) {
        Event *event = g_ptr_array_index(events, i - 1);

        if (kind == EVENT_NONE ?
            event->kind != EVENT_WARNING && event->kind != EVENT_NMI :
            event->kind == kind) {
            return event;
        }
    }
    return NULL;
}

/* What led to the panic: reported before it, or the panic itself. */
static Event *cause_of(GPtrArray *events, guint panic)
{
    Event *event = g_ptr_array_index(events, panic);
    Event *cause;

    for (gsize i = 0; i < G_N_ELEMENTS(consequences); i++) {
        if (!strstr(event->text, consequences[i].text)) {
            continue;
        }
        cause = last_event(events, panic, consequences[i].kind);
        /* a sanitizer's report is a "BUG:", and panics as a warning does */
        if (consequences[i].kind == EVENT_WARNING) {
            Event *bug = last_event(events, panic, EVENT_OOPS);

            if (bug && (!cause || bug->line > cause->line)) {
                cause = bug;
            }
        }
        /* init may also have ended by itself, long after an oops */
        if (cause && strstr(event->text, "Attempted to kill init") &&
            cause->pid != 1) {
            cause = NULL;
        }
        if (cause) {
            return cause;
        }
    }
    return event;
}

/* ------------------------------------------------------------------ */
/* The log                                                            */

static void take_version(Oops *oops, const char *text)
{
    const char *p = strstr(text, "Linux version ");

    if (p == text && !oops->release) {
        p += strlen("Linux version ");
        oops->release = ctl_printable(p, MIN(strcspn(p, " "), 65));
    }
}

static void sign(Oops *oops)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

    /* the first line is the version of the way it is made */
    g_checksum_update(sum, (guchar *)"1\n", 2);
    g_checksum_update(sum, (guchar *)oops->message, -1);
    g_checksum_update(sum, (guchar *)"\n", 1);
    if (oops->function) {
        g_checksum_update(sum, (guchar *)oops->function, -1);
    }
    for (guint i = 0; i < oops->nr_frames; i++) {
        g_checksum_update(sum, (guchar *)"\n", 1);
        g_checksum_update(sum, (guchar *)oops->frames[i], -1);
    }
    oops->signature = g_strndup(g_checksum_get_string(sum), 16);
}

static void use_event(Oops *oops, Event *cause, Event *panic)
{
    Event *trace = cause;

    /* an NMI is only announced, its backtrace is the panic's */
    if (!trace->function && !trace->nr_frames && panic) {
        trace = panic;
    }
    oops->cause = ctl_printable(cause->text, -1);
    if (panic) {
        oops->panic = ctl_printable(panic->text, -1);
    }
    oops->message = oops_normalise(cause->text);
    oops->function = g_steal_pointer(&trace->function);
    while (oops->nr_frames < trace->nr_frames) {
        oops->frames[oops->nr_frames] =
            g_steal_pointer(&trace->frames[oops->nr_frames]);
        oops->nr_frames++;
    }
    if (!cause->comm && cause->pid < 0 && panic) {
        cause = panic;
    }
    oops->comm = g_steal_pointer(&cause->comm);
    oops->pid = cause->pid;
    oops->cpu = cause->cpu;
    sign(oops);
}

Oops *oops_parse(const char *log, gsize len)
{
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func(event_free);
    g_autofree char *tainted_release = NULL;
    const char *p = len ? log : "", *end = p + len;
    Oops *oops = g_new0(Oops, 1);
    Event *event = NULL, *cause, *panic = NULL;
    double time, last_time = -1;

    oops->pid = oops->cpu = -1;
    for (gsize nr = 0; p < end; nr++) {
        const char *eol = memchr(p, '\n', end - p);
        gsize n = MIN((eol ? eol : end) - p, LINE_MAX_LEN);
        char line[LINE_MAX_LEN + 1];
        const char *text;
        EventKind kind;

        memcpy(line, p, n);
        line[n] = 0;
        p = eol ? eol + 1 : end;
        g_strchomp(line);
        text = skip_prefix(line, &time);
        if (time >= 0) {
            last_time = time;
        }

        take_version(oops, text);
        /* all that comes after a panic is about the panic */
        kind = panic ? EVENT_NONE : header_kind(text);
        if (kind != EVENT_NONE && !same_event(event, kind, nr)) {
            event = event_new(kind, text, last_time, nr);
            g_ptr_array_add(events, event);
            panic = kind == EVENT_PANIC ? event : NULL;
            continue;
        }
        if (g_str_has_prefix(text, "CPU: ")) {
            take_task(event, &tainted_release, text);
        }
        if (event && nr - event->line < EVENT_LINES) {
            take_line(event, text);
        }
        if (panic && panic->trace_ended) {
            break;
        }
    }

    cause = panic ? cause_of(events, events->len - 1) :
                    last_event(events, events->len, EVENT_NONE);
    oops->uptime = cause ? cause->time : last_time;
    if (cause) {
        use_event(oops, cause, panic);
    }
    if (!oops->release) {
        oops->release = g_steal_pointer(&tainted_release);
    }
    return oops;
}

void oops_free(Oops *oops)
{
    g_free(oops->release);
    g_free(oops->cause);
    g_free(oops->panic);
    g_free(oops->message);
    g_free(oops->function);
    g_free(oops->comm);
    g_free(oops->signature);
    for (guint i = 0; i < oops->nr_frames; i++) {
        g_free(oops->frames[i]);
    }
    g_free(oops);
}
