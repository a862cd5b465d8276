/*
 * QTest testcase for fadump-dev, firmware-assisted dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the guest's driver, a hostile one at times. No vCPU runs: what
 * is in memory at a capture, and after it, is what the test has put there.
 */

#include "qemu/osdep.h"
#include "fadump-lib.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    fadump_add_register_tests();
    fadump_add_queue_tests();
    fadump_add_capture_tests();
    fadump_add_cause_tests();
    fadump_add_host_tests();
    fadump_add_place_tests();
    fadump_add_migrate_tests();
    fadump_add_migrate_matrix_tests();
    fadump_add_midway_tests();
    fadump_add_numa_tests();
    fadump_add_stream_tests();
    fadump_add_bootmem_tests();
    fadump_add_property_tests();
    fadump_add_life_tests();
    fadump_add_guard_tests();
    fadump_add_hotplug_tests();
    fadump_add_smm_tests();
    fadump_add_relocate_tests();
    fadump_add_fault_tests();
    fadump_add_save_tests();
    fadump_add_live_tests();

    return g_test_run();
}
