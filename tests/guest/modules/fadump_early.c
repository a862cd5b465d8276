// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A panic in an initcall, as early as a module can have one: while the guest
 * has MIN_MB of memory or more, or less than MAX_MB. So a test can kill the
 * ordinary boot and spare the confined one, or the other way round. It has
 * nothing to do otherwise, and does not stay loaded.
 */
#include <linux/mm.h>
#include <linux/module.h>

static unsigned int min_mb = UINT_MAX;
module_param(min_mb, uint, 0);
MODULE_PARM_DESC(min_mb, "panic with so many MiB of memory or more");

static unsigned int max_mb;
module_param(max_mb, uint, 0);
MODULE_PARM_DESC(max_mb, "panic with less MiB of memory than this");

static int __init fadump_early_init(void)
{
	unsigned long mb = totalram_pages() >> (20 - PAGE_SHIFT);

	if (mb >= min_mb || mb < max_mb)
		panic("fadump_early: %lu MiB", mb);
	return -ENODEV;
}

module_init(fadump_early_init);
MODULE_DESCRIPTION("A panic in an initcall, for tests of crash dumps");
MODULE_LICENSE("GPL");
