/*
 * Firmware-assisted dump: the device's life, as a table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What can happen to a guest with the device, and what the device then does,
 * for each of its states. Nothing here touches the machine: fadump-events.c
 * tells what happens and does what the table says.
 */
#ifndef HW_MISC_FADUMP_LIFE_H
#define HW_MISC_FADUMP_LIFE_H

/* The guest sees less of it: fadump_life_abi_state(). The values migrate. */
typedef enum FadumpLife {
    /* nothing is registered */
    FADUMP_LIFE_IDLE,
    /* nor is it a crash with the property early, if the next reset comes now */
    FADUMP_LIFE_ANNOUNCED,
    /* a reset by the guest would be a crash */
    FADUMP_LIFE_REGISTERED,
    /* it would not: a crash kernel of the guest's own has taken over */
    FADUMP_LIFE_YIELDED,
    /* the guest has died, the reset at which it is captured is on its way */
    FADUMP_LIFE_DYING,
    /* the same, and the guest has registered */
    FADUMP_LIFE_DYING_REGISTERED,
    /* at the head of that reset; no event but the capture's end can come */
    FADUMP_LIFE_CAPTURING,
    /* a dump is held, and this boot has shown no sign of life yet */
    FADUMP_LIFE_HELD,
    /* nor need it: the host has saved the dump in this boot */
    FADUMP_LIFE_HELD_SAVED,
    /* this boot counts: it came as far as a driver or an operating system */
    FADUMP_LIFE_HELD_COUNTED,
    /* it counts and has died; the reset that ends it is on its way */
    FADUMP_LIFE_HELD_DYING,
    FADUMP_LIFE__MAX
} FadumpLife;

typedef enum FadumpLifeEvent {
    /* what the guest's driver wants, checked already */
    FADUMP_EVENT_REGISTER,
    FADUMP_EVENT_UNREGISTER,
    FADUMP_EVENT_YIELD,
    FADUMP_EVENT_RELEASE,
    /* its kernel panics: it wrote TRIGGER_PANIC */
    FADUMP_EVENT_PANIC,
    /* the virtio device was reset */
    FADUMP_EVENT_DRIVER_RESET,
    /* a driver is up, or an operating system was seen running */
    FADUMP_EVENT_BOOTED,
    /* a watchdog expired or a vCPU cannot go on; who saw it asks for a reset */
    FADUMP_EVENT_CRASH,
    /* the guest told a panic device; nobody has asked for a reset */
    FADUMP_EVENT_PANIC_DEVICE,
    /* fadump-trigger */
    FADUMP_EVENT_OPERATOR,
    /* fadump-release */
    FADUMP_EVENT_HOST_RELEASE,
    /* the host has saved the whole dump */
    FADUMP_EVENT_SAVED,
    /* boot-timeout has passed */
    FADUMP_EVENT_TIMEOUT,
    /* the head of a system reset, by who wanted it */
    FADUMP_EVENT_GUEST_RESET,
    FADUMP_EVENT_HOST_RESET,
    FADUMP_EVENT_OTHER_RESET,
    /* how FADUMP_DO_CAPTURE ended */
    FADUMP_EVENT_CAPTURED,
    FADUMP_EVENT_CAPTURE_FAILED,
    FADUMP_EVENT__MAX
} FadumpLifeEvent;

/* What else a row of the table may go by */
typedef enum FadumpLifeCondition {
    /* the property early is on */
    FADUMP_IF_EARLY = 1 << 0,
    /* a vCPU runs an operating system; known at resets and timeouts only */
    FADUMP_IF_OS_RUNS = 1 << 1,
    /* a driver has been up since power-on */
    FADUMP_IF_DRIVER_SEEN = 1 << 2,
    /* as many boots have counted as the property max-boots allows */
    FADUMP_IF_SPENT = 1 << 3,
    /* the host reads the dump */
    FADUMP_IF_READING = 1 << 4,
    /* a reset would be a shutdown, so there is no next boot */
    FADUMP_IF_NO_REBOOT = 1 << 5,
    /* the property capture-host-reset is on */
    FADUMP_IF_HOST_RESET_COUNTS = 1 << 6,
    FADUMP_IF__ALL = (1 << 7) - 1
} FadumpLifeCondition;

/* What is done, in this order, when the device is in its next state */
typedef enum FadumpLifeAction {
    /* forget what is registered */
    FADUMP_DO_FORGET = 1 << 0,
    /* remember the cause, and the vCPU that it happened on */
    FADUMP_DO_BLAME = 1 << 1,
    /* this boot counts */
    FADUMP_DO_COUNT_BOOT = 1 << 2,
    /* so does this panic, which is not captured */
    FADUMP_DO_COUNT_LOST = 1 << 3,
    /* send GUEST_CRASHLOADED, FADUMP_REGISTERED, FADUMP_FAILED */
    FADUMP_DO_TELL_CRASHLOADED = 1 << 4,
    FADUMP_DO_TELL_REGISTERED = 1 << 5,
    FADUMP_DO_TELL_LOST = 1 << 6,
    /* drop the dump, lift the confinement; needs a reason */
    FADUMP_DO_RELEASE = 1 << 7,
    /* nobody can have the window mapped any more */
    FADUMP_DO_HIDE_WINDOW = 1 << 8,
    FADUMP_DO_RESTART_TIMER = 1 << 9,
    FADUMP_DO_REQUEST_RESET = 1 << 10,
    /* ends with an event of its own */
    FADUMP_DO_CAPTURE = 1 << 11,
} FadumpLifeAction;

/* From @states, by any of @events, if all of @need and none of @unless hold */
typedef struct FadumpLifeRow {
    /* 1 << FADUMP_LIFE_* */
    unsigned int states;
    /* 1 << FADUMP_EVENT_* */
    unsigned int events;
    unsigned int need;
    unsigned int unless;
    /* FADUMP_LIFE__MAX: the state stays as it is */
    FadumpLife next;
    unsigned int actions;
} FadumpLifeRow;

/* The whole table, for tests; @n rows */
const FadumpLifeRow *fadump_life_table(unsigned int *n);

/*
 * The row for @event in @state under @conditions, FADUMP_IF_*: the first that
 * fits. NULL if the event has no effect, or is refused, in this state.
 */
const FadumpLifeRow *fadump_life_find(FadumpLife state, FadumpLifeEvent event,
                                      unsigned int conditions);

/* The state that follows on @state by @row. */
FadumpLife fadump_life_next(FadumpLife state, const FadumpLifeRow *row);

/* VIRTIO_FADUMP_STATE_*: what the guest is told. */
uint32_t fadump_life_abi_state(FadumpLife state);

/* Whether a dump is held. */
bool fadump_life_held(FadumpLife state);

/* Whether a reset that this device knows of has not happened yet. */
bool fadump_life_reset_pending(FadumpLife state);

/* Whether that reset is a crash that was seen, so that its cause is known. */
bool fadump_life_dying(FadumpLife state);

/* Whether boot-timeout runs: from the state's beginning, on over resets. */
bool fadump_life_timer_runs(FadumpLife state);

/* For traces and messages */
const char *fadump_life_state_name(FadumpLife state);
const char *fadump_life_event_name(FadumpLifeEvent event);

#endif /* HW_MISC_FADUMP_LIFE_H */
