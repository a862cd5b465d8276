/*
 * Unit test of firmware-assisted dump: the device's life
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every state, every event and every condition: first what must be true of all
 * of them, then where each leads.
 */

#include "qemu/osdep.h"
#include "hw/misc/fadump-life.h"
#include "standard-headers/linux/virtio_fadump.h"

static bool is_reset(FadumpLifeEvent event)
{
    return event == FADUMP_EVENT_GUEST_RESET ||
           event == FADUMP_EVENT_HOST_RESET ||
           event == FADUMP_EVENT_OTHER_RESET;
}

static bool is_counted(FadumpLife state)
{
    return state == FADUMP_LIFE_HELD_COUNTED || state == FADUMP_LIFE_HELD_DYING;
}

static bool registered(FadumpLife state)
{
    return fadump_life_abi_state(state) == VIRTIO_FADUMP_STATE_REGISTERED;
}

/* A dump goes only when it is released, and nobody reads it then. */
static void check_dump(FadumpLife from, FadumpLifeEvent event, unsigned conds,
                       FadumpLife to, unsigned actions)
{
    bool release = actions & FADUMP_DO_RELEASE;

    g_assert_true(release == (fadump_life_held(from) && !fadump_life_held(to)));
    if (release) {
        g_assert_false(conds & FADUMP_IF_READING);
        g_assert_true(event == FADUMP_EVENT_RELEASE ||
                      event == FADUMP_EVENT_HOST_RELEASE ||
                      (is_reset(event) && conds & FADUMP_IF_SPENT));
        g_assert_cmpint(to, ==, FADUMP_LIFE_IDLE);
    }
    /* and it comes by a capture only */
    if (!fadump_life_held(from) && fadump_life_held(to)) {
        g_assert_cmpint(from, ==, FADUMP_LIFE_CAPTURING);
        g_assert_cmpint(event, ==, FADUMP_EVENT_CAPTURED);
        g_assert_cmpint(to, ==, FADUMP_LIFE_HELD);
    }
    /* never stuck small: as many boots as there may be, and no reader */
    if (is_reset(event) && fadump_life_held(from)) {
        g_assert_true(fadump_life_held(to) ==
                      (!(conds & FADUMP_IF_SPENT) ||
                       conds & FADUMP_IF_READING));
    }
}

static void check_capture(FadumpLife from, FadumpLifeEvent event,
                          unsigned conds, FadumpLife to, unsigned actions)
{
    bool capture = actions & FADUMP_DO_CAPTURE;

    g_assert_true(capture == (to == FADUMP_LIFE_CAPTURING &&
                              from != FADUMP_LIFE_CAPTURING));
    if (capture) {
        g_assert_true(is_reset(event));
        /* the cause is known, now or since the guest died */
        g_assert_true(!!(actions & FADUMP_DO_BLAME) !=
                      fadump_life_dying(from));
        g_assert_false(from == FADUMP_LIFE_ANNOUNCED);
        g_assert_true(from != FADUMP_LIFE_IDLE ||
                      (conds & FADUMP_IF_EARLY && conds & FADUMP_IF_OS_RUNS));
    }
    /* without a next boot what a death leads to is not ours */
    if (conds & FADUMP_IF_NO_REBOOT && (event == FADUMP_EVENT_CRASH ||
                                        event == FADUMP_EVENT_PANIC_DEVICE)) {
        g_assert_true(to == from && !actions);
    }
    /* whoever has died is captured, at whatever reset comes */
    if (fadump_life_dying(from) && is_reset(event)) {
        g_assert_true(capture);
    }
    /* a registration that is a crash's is not forgotten before it */
    if (fadump_life_dying(from) && !is_reset(event)) {
        g_assert_true(fadump_life_dying(to));
    }
    if (from == FADUMP_LIFE_CAPTURING && to != from) {
        g_assert_true(event == FADUMP_EVENT_CAPTURED ||
                      event == FADUMP_EVENT_CAPTURE_FAILED);
    }
    if (fadump_life_dying(to) && !fadump_life_dying(from)) {
        g_assert_true(actions & FADUMP_DO_BLAME);
    }
}

static void check_boots(FadumpLife from, FadumpLifeEvent event, FadumpLife to,
                        unsigned actions)
{
    bool count = actions & FADUMP_DO_COUNT_BOOT;

    /* each boot once */
    g_assert_true(count == (!is_counted(from) && is_counted(to)));
    if (is_counted(from) && fadump_life_held(to) && !is_reset(event)) {
        g_assert_true(is_counted(to));
    }
    /* the next boot has not counted, whatever the last one did */
    if (is_reset(event)) {
        g_assert_true(to == FADUMP_LIFE_IDLE || to == FADUMP_LIFE_HELD ||
                      to == FADUMP_LIFE_CAPTURING ||
                      from == FADUMP_LIFE_CAPTURING);
    }
    if (actions & FADUMP_DO_RESTART_TIMER) {
        g_assert_true(fadump_life_timer_runs(to));
    }
}

static void check_driver(FadumpLife from, FadumpLifeEvent event, FadumpLife to,
                         unsigned actions)
{
    if (registered(to) && !registered(from)) {
        g_assert_cmpint(event, ==, FADUMP_EVENT_REGISTER);
        g_assert_true(actions & FADUMP_DO_TELL_REGISTERED);
    }
    if (registered(from) && !registered(to) &&
        to != FADUMP_LIFE_CAPTURING) {
        g_assert_true(actions & FADUMP_DO_FORGET);
    }
    /* what the guest can do again and again sends one event until the reset */
    if (from == to && (event == FADUMP_EVENT_PANIC ||
                       event == FADUMP_EVENT_PANIC_DEVICE)) {
        g_assert_false(actions & (FADUMP_DO_TELL_LOST |
                                  FADUMP_DO_TELL_CRASHLOADED));
    }
    if (actions & FADUMP_DO_REQUEST_RESET) {
        g_assert_true(fadump_life_reset_pending(to));
    }
}

static void test_rules(void)
{
    FadumpLife from;
    FadumpLifeEvent event;
    unsigned conds, n, i;
    const FadumpLifeRow *rows = fadump_life_table(&n);
    g_autofree bool *used = g_new0(bool, n);

    for (from = 0; from < FADUMP_LIFE__MAX; from++) {
        for (event = 0; event < FADUMP_EVENT__MAX; event++) {
            for (conds = 0; conds <= FADUMP_IF__ALL; conds++) {
                const FadumpLifeRow *row = fadump_life_find(from, event, conds);
                FadumpLife to = fadump_life_next(from, row);
                unsigned actions = row ? row->actions : 0;

                g_assert_cmpint(to, <, FADUMP_LIFE__MAX);
                check_dump(from, event, conds, to, actions);
                check_capture(from, event, conds, to, actions);
                check_boots(from, event, to, actions);
                check_driver(from, event, to, actions);
                if (row) {
                    used[row - rows] = true;
                }
            }
        }
    }
    /* no row that others hide */
    for (i = 0; i < n; i++) {
        g_assert_true(used[i]);
    }
}

/* Where each state goes with no condition, '-': no effect. */
static void test_grid(void)
{
    /*
     * I dle, A nnounced, R egistered, Y ielded, d ying, D ying-registered,
     * C apturing, h eld, s aved, c ounted, H eld-dying
     */
    static const char states[] = "IARYdDChscH";
    static const struct {
        FadumpLifeEvent event;
        const char *next;
    } grid[] = {
        { FADUMP_EVENT_REGISTER,       "RR--D------" },
        { FADUMP_EVENT_UNREGISTER,     "--AA-d-----" },
        { FADUMP_EVENT_YIELD,          "--YY-D-----" },
        { FADUMP_EVENT_RELEASE,        "-------IIII" },
        { FADUMP_EVENT_PANIC,          "--DD-D-HHHH" },
        { FADUMP_EVENT_DRIVER_RESET,   "--I--------" },
        { FADUMP_EVENT_BOOTED,         "-------cc--" },
        { FADUMP_EVENT_CRASH,          "--DD---HHH-" },
        { FADUMP_EVENT_PANIC_DEVICE,   "--DDdD-HHHH" },
        { FADUMP_EVENT_OPERATOR,       "ddDDdD-----" },
        { FADUMP_EVENT_HOST_RELEASE,   "-------IIII" },
        { FADUMP_EVENT_SAVED,          "-------s---" },
        { FADUMP_EVENT_TIMEOUT,        "-------H---" },
        { FADUMP_EVENT_GUEST_RESET,    "IICICC-hhhh" },
        { FADUMP_EVENT_HOST_RESET,     "IIIICC-hhhh" },
        { FADUMP_EVENT_OTHER_RESET,    "IIIICC-hhhh" },
        { FADUMP_EVENT_CAPTURED,       "------h----" },
        { FADUMP_EVENT_CAPTURE_FAILED, "------I----" },
    };
    FadumpLife from;
    size_t i;

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(grid) != FADUMP_EVENT__MAX);
    QEMU_BUILD_BUG_ON(sizeof(states) - 1 != FADUMP_LIFE__MAX);
    for (i = 0; i < ARRAY_SIZE(grid); i++) {
        for (from = 0; from < FADUMP_LIFE__MAX; from++) {
            const FadumpLifeRow *row = fadump_life_find(from, grid[i].event, 0);
            char to = row ? states[fadump_life_next(from, row)] : '-';

            if (to != grid[i].next[from]) {
                g_test_message("%s, %s: %c, expected %c",
                               fadump_life_state_name(from),
                               fadump_life_event_name(grid[i].event), to,
                               grid[i].next[from]);
                g_test_fail();
            }
        }
    }
}

typedef struct Step {
    FadumpLife from;
    FadumpLifeEvent event;
    unsigned conds;
    FadumpLife to;
    /* what must be among the actions */
    unsigned actions;
} Step;

/* What goes by conditions */
static void test_conditions(void)
{
#define IF(name) FADUMP_IF_##name
#define STEP(from, event, conds, to, actions) \
    { FADUMP_LIFE_##from, FADUMP_EVENT_##event, conds, FADUMP_LIFE_##to, \
      actions }
    static const Step steps[] = {
        /* early: from power-on until something is announced */
        STEP(IDLE, CRASH, IF(EARLY), DYING, FADUMP_DO_BLAME),
        STEP(IDLE, PANIC_DEVICE, IF(EARLY), DYING, FADUMP_DO_REQUEST_RESET),
        STEP(ANNOUNCED, CRASH, IF(EARLY), ANNOUNCED, 0),
        STEP(IDLE, CRASH, 0, IDLE, 0),
        STEP(IDLE, GUEST_RESET, IF(EARLY), IDLE, 0),
        STEP(IDLE, GUEST_RESET, IF(OS_RUNS), IDLE, 0),
        STEP(IDLE, GUEST_RESET, IF(EARLY) | IF(OS_RUNS), CAPTURING,
             FADUMP_DO_CAPTURE),
        STEP(IDLE, HOST_RESET, IF(EARLY) | IF(OS_RUNS), IDLE, 0),
        STEP(IDLE, HOST_RESET, IF(EARLY) | IF(OS_RUNS) |
             IF(HOST_RESET_COUNTS), CAPTURING, FADUMP_DO_CAPTURE),
        STEP(ANNOUNCED, GUEST_RESET, IF(EARLY) | IF(OS_RUNS), IDLE, 0),
        /* the operator's resets */
        STEP(REGISTERED, HOST_RESET, IF(HOST_RESET_COUNTS), CAPTURING,
             FADUMP_DO_CAPTURE),
        STEP(YIELDED, HOST_RESET, IF(HOST_RESET_COUNTS), CAPTURING,
             FADUMP_DO_CAPTURE),
        STEP(IDLE, HOST_RESET, IF(HOST_RESET_COUNTS), IDLE, 0),
        /* no next boot */
        STEP(REGISTERED, CRASH, IF(NO_REBOOT), REGISTERED, 0),
        STEP(REGISTERED, PANIC_DEVICE, IF(NO_REBOOT), REGISTERED, 0),
        STEP(HELD, PANIC_DEVICE, IF(NO_REBOOT), HELD, 0),
        /* the host reads */
        STEP(HELD, RELEASE, IF(READING), HELD, 0),
        STEP(HELD_COUNTED, HOST_RELEASE, IF(READING), HELD_COUNTED, 0),
        STEP(HELD_DYING, GUEST_RESET, IF(SPENT) | IF(READING), HELD, 0),
        STEP(HELD_DYING, GUEST_RESET, IF(SPENT), IDLE, FADUMP_DO_RELEASE),
        STEP(HELD, OTHER_RESET, IF(SPENT), IDLE, FADUMP_DO_RELEASE),
        /* boot-timeout */
        STEP(HELD, TIMEOUT, 0, HELD_DYING,
             FADUMP_DO_COUNT_BOOT | FADUMP_DO_REQUEST_RESET),
        STEP(HELD, TIMEOUT, IF(DRIVER_SEEN), HELD_DYING,
             FADUMP_DO_REQUEST_RESET),
        STEP(HELD, TIMEOUT, IF(DRIVER_SEEN) | IF(OS_RUNS), HELD_DYING,
             FADUMP_DO_REQUEST_RESET),
        STEP(HELD, TIMEOUT, IF(OS_RUNS), HELD, FADUMP_DO_RESTART_TIMER),
        STEP(HELD, TIMEOUT, IF(READING) | IF(DRIVER_SEEN), HELD,
             FADUMP_DO_RESTART_TIMER),
        STEP(HELD_SAVED, TIMEOUT, 0, HELD_SAVED, 0),
        STEP(HELD_COUNTED, TIMEOUT, 0, HELD_COUNTED, 0),
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        const Step *s = &steps[i];
        const FadumpLifeRow *row = fadump_life_find(s->from, s->event,
                                                    s->conds);
        unsigned actions = row ? row->actions : 0;

        g_test_message("%s, %s, conditions 0x%x",
                       fadump_life_state_name(s->from),
                       fadump_life_event_name(s->event), s->conds);
        g_assert_cmpint(fadump_life_next(s->from, row), ==, s->to);
        g_assert_cmphex(actions & s->actions, ==, s->actions);
    }
}

/* As the guest sees it, and what goes by the state alone */
static void test_views(void)
{
    static const struct {
        const char *name;
        uint32_t abi;
        bool dying, pending, timer;
    } views[FADUMP_LIFE__MAX] = {
        [FADUMP_LIFE_IDLE] = { "idle", 0 },
        [FADUMP_LIFE_ANNOUNCED] = { "announced", 0 },
        [FADUMP_LIFE_REGISTERED] = { "registered", 1 },
        [FADUMP_LIFE_YIELDED] = { "yielded", 1 },
        [FADUMP_LIFE_DYING] = { "dying", 0, true, true },
        [FADUMP_LIFE_DYING_REGISTERED] = { "dying-registered", 1, true, true },
        [FADUMP_LIFE_CAPTURING] = { "capturing", 0 },
        [FADUMP_LIFE_HELD] = { "held", 2, false, false, true },
        [FADUMP_LIFE_HELD_SAVED] = { "held-saved", 2 },
        [FADUMP_LIFE_HELD_COUNTED] = { "held-counted", 2 },
        [FADUMP_LIFE_HELD_DYING] = { "held-dying", 2, false, true },
    };
    FadumpLifeEvent event;
    FadumpLife state;

    for (state = 0; state < FADUMP_LIFE__MAX; state++) {
        g_assert_cmpstr(fadump_life_state_name(state), ==, views[state].name);
        g_assert_cmpint(fadump_life_abi_state(state), ==, views[state].abi);
        g_assert_cmpint(fadump_life_held(state), ==, views[state].abi == 2);
        g_assert_cmpint(fadump_life_dying(state), ==, views[state].dying);
        g_assert_cmpint(fadump_life_reset_pending(state), ==,
                        views[state].pending);
        g_assert_cmpint(fadump_life_timer_runs(state), ==, views[state].timer);
    }
    for (event = 0; event < FADUMP_EVENT__MAX; event++) {
        g_assert_nonnull(fadump_life_event_name(event));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fadump-life/rules", test_rules);
    g_test_add_func("/fadump-life/grid", test_grid);
    g_test_add_func("/fadump-life/conditions", test_conditions);
    g_test_add_func("/fadump-life/views", test_views);
    return g_test_run();
}
