// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registration: from here on a crash is captured.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "compat.h"
#include "fadump.h"

static bool fadump_register_at_probe = true;
module_param_named(register, fadump_register_at_probe, bool, 0444);
MODULE_PARM_DESC(register,
		 "Register as soon as there is no dump to be saved (default: on)");

/* Bytes; 0 is what the host would choose. */
static u64 fadump_boot_mem_wanted;

static int fadump_boot_mem_set(const char *val, const struct kernel_param *kp)
{
	char *end;
	u64 size = memparse(val, &end);

	if (end == val || (*end && *end != '\n'))
		return -EINVAL;
	WRITE_ONCE(fadump_boot_mem_wanted, size);
	return 0;
}

static int fadump_boot_mem_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(fadump_boot_mem_wanted));
}

static const struct kernel_param_ops fadump_boot_mem_ops = {
	.set	= fadump_boot_mem_set,
	.get	= fadump_boot_mem_get,
};
module_param_cb(boot_mem, &fadump_boot_mem_ops, NULL, 0644);
MODULE_PARM_DESC(boot_mem,
		 "Memory that the boot after a crash is to have, as in 1G (default: 0, what the host has set up)");

/**
 * fadump_register_wanted - is the driver to register by itself?
 *
 * Return: as the user has set it.
 */
bool fadump_register_wanted(void)
{
	return fadump_register_at_probe;
}

/* Asks the device which memory it would set aside. */
static int fadump_ask_boot_mem(void)
{
	u64 want = READ_ONCE(fadump_boot_mem_wanted);
	struct fadump_boot_mem *bm = &fadump.boot_mem;
	struct fadump_why why = { "" };
	struct fadump_status st;
	int ret;

	memset(bm, 0, sizeof(*bm));
	ret = fadump.dev->ops->fadump_get_boot_mem(fadump.dev->priv, want, bm);
	if (ret)
		return ret;
	ret = fadump_boot_mem_check(bm, fadump_phys_limit(), &why);
	if (ret) {
		pr_err("not registered: %s\n", why.text);
		return ret;
	}
	if (bm->size < want) {
		fadump_get_status(&st);
		pr_warn("boot memory: %llu MiB are wanted, %llu MiB are granted: the host's limit (boot-mem-max) is %llu MiB\n",
			want >> 20, bm->size >> 20, st.boot_mem_max >> 20);
	}
	return 0;
}

/* What the device and the log were told last: a kdump kernel goes first. */
static bool fadump_told_kdump;

/**
 * fadump_tell_kdump - tell the device and the log who would have a panic
 *
 * If something is registered, and it has changed. Nobody tells us: a kdump kernel
 * may be loaded or unloaded at any time.
 */
void fadump_tell_kdump(void)
{
	bool first = fadump_kdump_first();

	lockdep_assert_held(&fadump.lock);

	if (!fadump.registered || first == fadump_told_kdump)
		return;
	fadump_told_kdump = first;
	if (first)
		pr_warn("a kdump kernel is loaded, and goes first at a panic: unload it, or write 1 to /sys/module/fadump/parameters/prefer\n");
	else
		pr_info("no kdump kernel goes first at a panic any more\n");
	fadump.dev->ops->fadump_trigger(fadump.dev->priv, first ?
					FADUMP_TRIGGER_WILL_YIELD :
					FADUMP_TRIGGER_WONT_YIELD);
}

static void fadump_say_registered(void)
{
	u64 reserved = fadump_destmem_taken();
	bool guest = fadump_dest_in_guest();

	pr_info("registered, %llu MiB are set aside at a crash%s, %llu MB reserved\n",
		fadump.boot_mem.size >> 20, guest ? " in guest memory" : "",
		reserved >> 20);
	if (guest && reserved < fadump.boot_mem.size)
		pr_info("a dump will lack user memory of ZONE_MOVABLE that boot memory goes to\n");
}

/**
 * fadump_register - register with the device
 *
 * Return: 0 or a negative errno, which has been reported.
 */
int fadump_register(void)
{
	struct fadump_registration reg = {
		.pieces = &fadump.pieces,
		.vmcoreinfo = { paddr_vmcoreinfo_note(), VMCOREINFO_NOTE_SIZE },
	};
	int ret;

	lockdep_assert_held(&fadump.lock);

	if (fadump.closed || !fadump.dev)
		return -ENODEV;
	ret = fadump_ask_boot_mem();
	if (ret)
		return ret;
	ret = fadump_dest_prepare();
	if (ret)
		return ret;

	reg.boot_mem = fadump.boot_mem.size;
	reg.crash_note = fadump_hook_note();
	ret = fadump.dev->ops->fadump_register(fadump.dev->priv, &reg);
	if (ret) {
		fadump_dest_idle();
		return ret;
	}
	fadump.registered = true;
	fadump_hook_arm(fadump.dev);
	fadump_say_registered();
	/* as every registration begins */
	fadump_told_kdump = false;
	fadump_tell_kdump();
	return 0;
}

/**
 * fadump_unregister - a crash is captured no more
 *
 * Return: 0, or a negative errno: it still is.
 */
int fadump_unregister(void)
{
	int ret;

	lockdep_assert_held(&fadump.lock);

	if (!fadump.registered)
		return 0;

	/*
	 * First, or a crash in between would wait for a device that has nothing
	 * to do with it any more.
	 */
	fadump_hook_disarm();
	ret = fadump.dev->ops->fadump_unregister(fadump.dev->priv);
	if (ret && ret != -ENOENT) {
		fadump_hook_arm(fadump.dev);
		return ret;
	}
	fadump.registered = false;
	fadump_dest_idle();
	pr_debug("unregistered\n");
	return 0;
}
