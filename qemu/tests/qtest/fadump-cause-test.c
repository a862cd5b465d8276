/*
 * QTest testcase for fadump-dev: each way to die, and its name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

static void test_causes(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, WATCHDOG PVPANIC);
    unsigned before;

    /* nothing is registered: all as without the device */
    expire_watchdog(f);
    probe(f);
    check_released(f);
    write_pvpanic(f);
    g_assert_cmpint(f->panicked, ==, 1);
    g_assert_cmpint(f->resets, ==, 1);
    g_assert_cmpint(f->captured, ==, 0);

    assert_register(f, OK);
    settle(f);
    g_assert_cmpint(f->registered, ==, 1);
    expire_watchdog(f);
    wait_count(f, &f->captured, 1, "watchdog");
    probe(f);
    assert_request(f, RELEASE, OK);
    wait_count(f, &f->released, 1, "guest");

    assert_register(f, OK);
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->captured, 2, "panic-device");
    g_assert_cmpint(f->crashloaded, ==, 1);
    g_assert_cmpint(f->panicked, ==, 1);

    /* while a dump is held it is the first that counts */
    probe(f);
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->failed, 1, "panic-device");
    g_assert_cmpint(f->panicked, ==, 1);
    expire_watchdog(f);
    wait_count(f, &f->failed, 2, "watchdog");
    g_assert_cmpint(f->captured, ==, 2);
    probe(f);
    assert_state(f, DUMP_AVAILABLE);
    stop(f);
}

typedef enum Death {
    DEATH_GUEST_RESET, DEATH_HOST_RESET, DEATH_WATCHDOG, DEATH_PANIC_DEVICE,
    DEATH_TRIGGER, DEATH_OPERATOR,
} Death;

static void die(Fadump *f, Death how)
{
    unsigned before = f->resets;

    switch (how) {
    case DEATH_GUEST_RESET:
        guest_reset(f);
        break;
    case DEATH_HOST_RESET:
        system_reset(f);
        break;
    case DEATH_WATCHDOG:
        expire_watchdog(f);
        break;
    case DEATH_PANIC_DEVICE:
        write_pvpanic(f);
        wait_reset(f, before);
        break;
    case DEATH_TRIGGER:
        trigger_panic(f);
        break;
    case DEATH_OPERATOR:
        qmp_trigger(f);
        break;
    }
}

/* A crash kernel of the guest's own is loaded, and would go first. */
static void test_will_yield(const void *opaque)
{
    Fadump *f = start_and_probe(opaque, "");

    assert_register(f, OK);
    g_assert_false(query_flag(f, "will-yield"));
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    g_assert_true(query_flag(f, "will-yield"));
    g_assert_false(query_flag(f, "yielded"));
    trigger(f, VIRTIO_FADUMP_TRIGGER_WONT_YIELD);
    g_assert_false(query_flag(f, "will-yield"));

    /* it ends with the registration */
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    assert_request(f, UNREGISTER, OK);
    g_assert_false(query_flag(f, "will-yield"));
    assert_register(f, OK);
    g_assert_false(query_flag(f, "will-yield"));
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    probe(f);
    assert_state(f, IDLE);
    g_assert_false(query_flag(f, "will-yield"));

    /* and is no more than a word: a crash is one */
    assert_register(f, OK);
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    guest_reset(f);
    wait_count(f, &f->captured, 1, "guest-reset");
    g_assert_false(query_flag(f, "will-yield"));
    probe(f);
    trigger(f, VIRTIO_FADUMP_TRIGGER_WILL_YIELD);
    g_assert_false(query_flag(f, "will-yield"));
    assert_request(f, RELEASE, OK);
    check_released(f);
    stop(f);
}

/* A crash kernel of the guest's own has taken over. */
static void test_yield(const void *opaque)
{
    static const struct {
        Death how;
        const char *cause;
    } cases[] = {
        { DEATH_GUEST_RESET, NULL },
        { DEATH_HOST_RESET, NULL },
        { DEATH_WATCHDOG, "watchdog" },
        { DEATH_PANIC_DEVICE, "panic-device" },
        { DEATH_TRIGGER, "panic" },
        { DEATH_OPERATOR, "operator" },
    };
    Fadump *f = start_and_probe(opaque, WATCHDOG PVPANIC);
    unsigned captured = 0;
    size_t i;
    int probes;

    /* with no driver for the device in the crash kernel, with one, with two */
    for (probes = 0; probes < 3; probes++) {
        for (i = 0; i < ARRAY_SIZE(cases); i++) {
            int n;

            assert_register(f, OK);
            g_assert_false(query_flag(f, "yielded"));
            trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
            /* once more changes nothing */
            trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
            g_assert_true(query_flag(f, "yielded"));
            for (n = 0; n < probes; n++) {
                /* no feature at all, and a destination in the host */
                probe_features(f, 1ull << VIRTIO_F_VERSION_1);
                assert_state(f, REGISTERED);
                assert_register(f, EXISTS);
            }
            die(f, cases[i].how);
            if (cases[i].cause) {
                wait_count(f, &f->captured, ++captured, cases[i].cause);
            }
            g_assert_cmpint(f->captured, ==, captured);
            probe(f);
            g_assert_false(query_flag(f, "yielded"));
            if (cases[i].cause) {
                assert_state(f, DUMP_AVAILABLE);
                assert_request(f, RELEASE, OK);
            }
            check_released(f);
            /* and the boot after it is one like any other */
            assert_register(f, OK);
            probe(f);
            assert_state(f, IDLE);
        }
    }

    /* what it has yielded it can still take back */
    assert_register(f, OK);
    trigger(f, VIRTIO_FADUMP_TRIGGER_YIELD);
    assert_request(f, UNREGISTER, OK);
    g_assert_false(query_flag(f, "yielded"));
    assert_register(f, OK);
    guest_reset(f);
    wait_count(f, &f->captured, captured + 1, "guest-reset");
    stop(f);
}

static void test_early(const void *opaque)
{
    Fadump *f = start(opaque, ",early=on,max-boots=2,capture-host-reset=on"
                      WATCHDOG PVPANIC);
    unsigned before;

    /* no vCPU runs an operating system: these are firmware's */
    g_assert_true(query_early(f));
    guest_reset(f);
    system_reset(f);
    g_assert_cmpint(f->captured, ==, 0);

    /* who announces its reset is not captured, until the next boot */
    probe(f);
    assert_register(f, OK);
    g_assert_false(query_early(f));
    assert_request(f, UNREGISTER, OK);
    g_assert_false(query_early(f));
    expire_watchdog(f);
    g_assert_cmpint(f->captured, ==, 0);
    g_assert_true(query_early(f));
    probe(f);
    assert_register(f, OK);
    trigger(f, VIRTIO_FADUMP_TRIGGER_UNREGISTER);
    g_assert_false(query_early(f));
    guest_reset(f);
    g_assert_cmpint(f->captured, ==, 0);

    /* firmware sets off no watchdog and does not panic */
    before = f->resets;
    write_pvpanic(f);
    wait_reset(f, before);
    wait_count(f, &f->captured, 1, "panic-device");
    g_assert_cmpint(f->panicked, ==, 0);
    g_assert_false(query_early(f));
    check_confinement(f, true);

    /* no driver, so only a boot that died counts, and max-boots holds */
    guest_reset(f);
    expire_watchdog(f);
    wait_count(f, &f->failed, 1, "watchdog");
    check_confinement(f, true);
    expire_watchdog(f);
    wait_count(f, &f->released, 1, "max-boots");
    check_confinement(f, false);
    g_assert_true(query_early(f));

    expire_watchdog(f);
    wait_count(f, &f->captured, 2, "watchdog");
    stop(f);
}

void fadump_add_cause_tests(void)
{
    add_test("causes", PC_1G, test_causes);
    add_test("causes", Q35_1G, test_causes);
    add_test("early", PC_1G, test_early);
    add_test("early", Q35_1G, test_early);
    add_test("will-yield", Q35_1G, test_will_yield);
    add_test("yield", PC_1G, test_yield);
    add_test("yield", Q35_1G, test_yield);
}
