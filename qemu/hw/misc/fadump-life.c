/*
 * Firmware-assisted dump: the device's life, as a table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rule is PAPR's: a reset by the guest while something is registered is a
 * crash, for the guest unregisters before every reset that it wants.
 */

#include "qemu/osdep.h"
#include "hw/misc/fadump-life.h"
#include "standard-headers/linux/virtio_fadump.h"

#define IN(state) (1u << FADUMP_LIFE_##state)
#define AT(event) (1u << FADUMP_EVENT_##event)

#define IN_REGISTERED (IN(REGISTERED) | IN(YIELDED))
#define IN_ALIVE (IN(IDLE) | IN(ANNOUNCED) | IN_REGISTERED)
#define IN_DYING (IN(DYING) | IN(DYING_REGISTERED))
#define IN_UNCOUNTED (IN(HELD) | IN(HELD_SAVED))
#define IN_HELD (IN_UNCOUNTED | IN(HELD_COUNTED) | IN(HELD_DYING))

#define AT_DEATH (AT(CRASH) | AT(PANIC_DEVICE))
#define AT_RESET (AT(GUEST_RESET) | AT(HOST_RESET) | AT(OTHER_RESET))

/* A cause that is known now; the capture comes with the reset. */
#define BLAME_AND_TELL (FADUMP_DO_BLAME | FADUMP_DO_TELL_CRASHLOADED)

#define SAME FADUMP_LIFE__MAX

/*
 * Of the rows for a state and an event the first whose conditions hold is the
 * one. What has no row has no effect.
 */
static const FadumpLifeRow table[] = {
    /* ---- what the driver wants ---- */
    { IN(IDLE) | IN(ANNOUNCED), AT(REGISTER), 0, 0,
      FADUMP_LIFE_REGISTERED, FADUMP_DO_TELL_REGISTERED },
    { IN(DYING), AT(REGISTER), 0, 0,
      FADUMP_LIFE_DYING_REGISTERED, FADUMP_DO_TELL_REGISTERED },

    { IN_REGISTERED, AT(UNREGISTER), 0, 0,
      FADUMP_LIFE_ANNOUNCED, FADUMP_DO_FORGET },
    /* too late to live, but what was registered is not to be read any more */
    { IN(DYING_REGISTERED), AT(UNREGISTER), 0, 0,
      FADUMP_LIFE_DYING, FADUMP_DO_FORGET },

    { IN_REGISTERED, AT(YIELD), 0, 0, FADUMP_LIFE_YIELDED, 0 },
    { IN(DYING_REGISTERED), AT(YIELD), 0, 0, SAME, 0 },

    { IN_HELD, AT(RELEASE), 0, FADUMP_IF_READING,
      FADUMP_LIFE_IDLE, FADUMP_DO_RELEASE | FADUMP_DO_HIDE_WINDOW },
    /* processes of the guest may have it mapped, and learn of this later */
    { IN_HELD, AT(HOST_RELEASE), 0, FADUMP_IF_READING,
      FADUMP_LIFE_IDLE, FADUMP_DO_RELEASE },

    /*
     * A registration dies with the kernel that made it, unless a crash kernel
     * has taken over, which may die, too, or it has died already. A dump does
     * not.
     */
    { IN(REGISTERED), AT(DRIVER_RESET), 0, 0,
      FADUMP_LIFE_IDLE, FADUMP_DO_FORGET },

    /* ---- signs of death; while a dump is held, that is what counts ---- */
    { IN_REGISTERED, AT(PANIC), 0, 0,
      FADUMP_LIFE_DYING_REGISTERED, BLAME_AND_TELL | FADUMP_DO_REQUEST_RESET },
    { IN(DYING_REGISTERED), AT(PANIC), 0, 0, SAME, FADUMP_DO_REQUEST_RESET },
    { IN_UNCOUNTED, AT(PANIC), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_COUNT_BOOT | FADUMP_DO_COUNT_LOST |
                              FADUMP_DO_TELL_LOST | FADUMP_DO_REQUEST_RESET },
    { IN(HELD_COUNTED), AT(PANIC), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_COUNT_LOST |
                              FADUMP_DO_TELL_LOST | FADUMP_DO_REQUEST_RESET },
    /* vCPUs that write on and on until the reset make no flood of events */
    { IN(HELD_DYING), AT(PANIC), 0, 0,
      SAME, FADUMP_DO_COUNT_LOST | FADUMP_DO_REQUEST_RESET },

    /* without a reset there is no capture: the panic's own action is better */
    { IN_ALIVE | IN_DYING | IN_HELD, AT_DEATH, FADUMP_IF_NO_REBOOT, 0,
      SAME, 0 },
    { IN(IDLE), AT(CRASH), FADUMP_IF_EARLY, 0,
      FADUMP_LIFE_DYING, FADUMP_DO_BLAME },
    { IN_REGISTERED, AT(CRASH), 0, 0,
      FADUMP_LIFE_DYING_REGISTERED, FADUMP_DO_BLAME },
    { IN_UNCOUNTED, AT(CRASH), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_COUNT_BOOT | FADUMP_DO_TELL_LOST },
    { IN(HELD_COUNTED), AT(CRASH), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_TELL_LOST },

    { IN(IDLE), AT(PANIC_DEVICE), FADUMP_IF_EARLY, 0,
      FADUMP_LIFE_DYING, BLAME_AND_TELL | FADUMP_DO_REQUEST_RESET },
    { IN_REGISTERED, AT(PANIC_DEVICE), 0, 0,
      FADUMP_LIFE_DYING_REGISTERED, BLAME_AND_TELL | FADUMP_DO_REQUEST_RESET },
    { IN_UNCOUNTED, AT(PANIC_DEVICE), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_COUNT_BOOT | FADUMP_DO_TELL_LOST |
                              FADUMP_DO_REQUEST_RESET },
    { IN(HELD_COUNTED), AT(PANIC_DEVICE), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_TELL_LOST | FADUMP_DO_REQUEST_RESET },
    { IN_DYING | IN(HELD_DYING), AT(PANIC_DEVICE), 0, 0,
      SAME, FADUMP_DO_REQUEST_RESET },

    { IN(IDLE) | IN(ANNOUNCED), AT(OPERATOR), 0, 0,
      FADUMP_LIFE_DYING, FADUMP_DO_BLAME | FADUMP_DO_REQUEST_RESET },
    { IN_REGISTERED, AT(OPERATOR), 0, 0,
      FADUMP_LIFE_DYING_REGISTERED, FADUMP_DO_BLAME |
                                    FADUMP_DO_REQUEST_RESET },
    { IN_DYING, AT(OPERATOR), 0, 0, SAME, FADUMP_DO_REQUEST_RESET },

    /* ---- resets ---- */
    { IN_DYING, AT_RESET, 0, 0, FADUMP_LIFE_CAPTURING, FADUMP_DO_CAPTURE },
    { IN(REGISTERED), AT(GUEST_RESET), 0, 0,
      FADUMP_LIFE_CAPTURING, FADUMP_DO_BLAME | FADUMP_DO_CAPTURE },
    { IN_REGISTERED, AT(HOST_RESET), FADUMP_IF_HOST_RESET_COUNTS, 0,
      FADUMP_LIFE_CAPTURING, FADUMP_DO_BLAME | FADUMP_DO_CAPTURE },
    /* firmware resets, too, as part of its work */
    { IN(IDLE), AT(GUEST_RESET), FADUMP_IF_EARLY | FADUMP_IF_OS_RUNS, 0,
      FADUMP_LIFE_CAPTURING, FADUMP_DO_BLAME | FADUMP_DO_CAPTURE },
    { IN(IDLE), AT(HOST_RESET), FADUMP_IF_EARLY | FADUMP_IF_OS_RUNS |
                                FADUMP_IF_HOST_RESET_COUNTS, 0,
      FADUMP_LIFE_CAPTURING, FADUMP_DO_BLAME | FADUMP_DO_CAPTURE },
    { IN_ALIVE, AT_RESET, 0, 0,
      FADUMP_LIFE_IDLE, FADUMP_DO_FORGET | FADUMP_DO_HIDE_WINDOW },

    { IN_HELD, AT_RESET, FADUMP_IF_SPENT, FADUMP_IF_READING,
      FADUMP_LIFE_IDLE, FADUMP_DO_RELEASE | FADUMP_DO_HIDE_WINDOW },
    /* from HELD itself the time goes on: firmware may reset for ever */
    { IN_HELD, AT_RESET, 0, 0, FADUMP_LIFE_HELD, 0 },

    { IN(CAPTURING), AT(CAPTURED), 0, 0, FADUMP_LIFE_HELD, 0 },
    /* a plain reset then: nothing is held, nothing is confined */
    { IN(CAPTURING), AT(CAPTURE_FAILED), 0, 0,
      FADUMP_LIFE_IDLE, FADUMP_DO_FORGET | FADUMP_DO_HIDE_WINDOW },

    /* ---- a boot with a dump held ---- */
    { IN_UNCOUNTED, AT(BOOTED), 0, 0,
      FADUMP_LIFE_HELD_COUNTED, FADUMP_DO_COUNT_BOOT },
    { IN(HELD), AT(SAVED), 0, 0, FADUMP_LIFE_HELD_SAVED, 0 },
    { IN(HELD), AT(TIMEOUT), FADUMP_IF_READING, 0,
      SAME, FADUMP_DO_RESTART_TIMER },
    /* it may be well, with no driver for this device */
    { IN(HELD), AT(TIMEOUT), FADUMP_IF_OS_RUNS, FADUMP_IF_DRIVER_SEEN,
      SAME, FADUMP_DO_RESTART_TIMER },
    { IN(HELD), AT(TIMEOUT), 0, 0,
      FADUMP_LIFE_HELD_DYING, FADUMP_DO_COUNT_BOOT | FADUMP_DO_REQUEST_RESET },
};

const FadumpLifeRow *fadump_life_table(unsigned int *n)
{
    *n = ARRAY_SIZE(table);
    return table;
}

const FadumpLifeRow *fadump_life_find(FadumpLife state, FadumpLifeEvent event,
                                      unsigned int conditions)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        const FadumpLifeRow *row = &table[i];

        if (row->states & (1u << state) && row->events & (1u << event) &&
            (conditions & row->need) == row->need &&
            !(conditions & row->unless)) {
            return row;
        }
    }
    return NULL;
}

FadumpLife fadump_life_next(FadumpLife state, const FadumpLifeRow *row)
{
    return row && row->next != SAME ? row->next : state;
}

uint32_t fadump_life_abi_state(FadumpLife state)
{
    switch (state) {
    case FADUMP_LIFE_REGISTERED:
    case FADUMP_LIFE_YIELDED:
    case FADUMP_LIFE_DYING_REGISTERED:
        return VIRTIO_FADUMP_STATE_REGISTERED;
    case FADUMP_LIFE_HELD:
    case FADUMP_LIFE_HELD_SAVED:
    case FADUMP_LIFE_HELD_COUNTED:
    case FADUMP_LIFE_HELD_DYING:
        return VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
    default:
        return VIRTIO_FADUMP_STATE_IDLE;
    }
}

bool fadump_life_held(FadumpLife state)
{
    return fadump_life_abi_state(state) == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
}

bool fadump_life_dying(FadumpLife state)
{
    return state == FADUMP_LIFE_DYING || state == FADUMP_LIFE_DYING_REGISTERED;
}

bool fadump_life_reset_pending(FadumpLife state)
{
    return fadump_life_dying(state) || state == FADUMP_LIFE_HELD_DYING;
}

bool fadump_life_timer_runs(FadumpLife state)
{
    return state == FADUMP_LIFE_HELD;
}

const char *fadump_life_state_name(FadumpLife state)
{
    static const char *const names[FADUMP_LIFE__MAX] = {
        [FADUMP_LIFE_IDLE] = "idle",
        [FADUMP_LIFE_ANNOUNCED] = "announced",
        [FADUMP_LIFE_REGISTERED] = "registered",
        [FADUMP_LIFE_YIELDED] = "yielded",
        [FADUMP_LIFE_DYING] = "dying",
        [FADUMP_LIFE_DYING_REGISTERED] = "dying-registered",
        [FADUMP_LIFE_CAPTURING] = "capturing",
        [FADUMP_LIFE_HELD] = "held",
        [FADUMP_LIFE_HELD_SAVED] = "held-saved",
        [FADUMP_LIFE_HELD_COUNTED] = "held-counted",
        [FADUMP_LIFE_HELD_DYING] = "held-dying",
    };

    return names[state];
}

const char *fadump_life_event_name(FadumpLifeEvent event)
{
    static const char *const names[FADUMP_EVENT__MAX] = {
        [FADUMP_EVENT_REGISTER] = "register",
        [FADUMP_EVENT_UNREGISTER] = "unregister",
        [FADUMP_EVENT_YIELD] = "yield",
        [FADUMP_EVENT_RELEASE] = "release",
        [FADUMP_EVENT_PANIC] = "panic",
        [FADUMP_EVENT_DRIVER_RESET] = "driver-reset",
        [FADUMP_EVENT_BOOTED] = "booted",
        [FADUMP_EVENT_CRASH] = "crash",
        [FADUMP_EVENT_PANIC_DEVICE] = "panic-device",
        [FADUMP_EVENT_OPERATOR] = "operator",
        [FADUMP_EVENT_HOST_RELEASE] = "host-release",
        [FADUMP_EVENT_SAVED] = "saved",
        [FADUMP_EVENT_TIMEOUT] = "timeout",
        [FADUMP_EVENT_GUEST_RESET] = "guest-reset",
        [FADUMP_EVENT_HOST_RESET] = "host-reset",
        [FADUMP_EVENT_OTHER_RESET] = "other-reset",
        [FADUMP_EVENT_CAPTURED] = "captured",
        [FADUMP_EVENT_CAPTURE_FAILED] = "capture-failed",
    };

    return names[event];
}
