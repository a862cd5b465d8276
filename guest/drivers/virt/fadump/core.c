// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Firmware-assisted dump for virtual machines.
 *
 * What the firmware of a POWER machine does there, the hypervisor does here. As
 * long as the guest is registered, its death is captured: the device keeps the
 * registers of all vCPUs and what is in boot memory, leaves the rest of RAM
 * where it is, and resets the machine. The same kernel boots again, from the
 * same disk, in boot memory only. This driver finds the dump and shows it as
 * /proc/vmcore, and when the user writes to release_mem it gives the preserved
 * memory back to the running kernel. No crash kernel, no memory reserved, no
 * second reboot.
 *
 * This is the core, which knows no device: a front (fadump-virtio.c) describes
 * one in struct fadump_device, attaches it, and says what happens to it. Calls go
 * from the front to the core, and back through struct fadump_ops only. Inside of
 * the core they go down this list, and never up:
 *
 *	core		the life of a device; what it does on its own
 *	sysfs		what the user sees and asks for
 *	release		the memory's way back
 *	register	registration
 *	dump		the dump of the last boot
 *	vmcore		/proc/vmcore
 *	saved		whether who read it has saved it
 *	dest, destmem	where boot memory goes at a crash
 *	claim		preserved memory as resources
 *	online		memory blocks
 *	hook		the moment of the crash
 *	desc, elf, bootmem	what can be computed, tested without a kernel
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/cc_platform.h>
#include <linux/crash_dump.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "fadump.h"

static bool fadump_enable = true;
module_param_named(enable, fadump_enable, bool, 0444);
MODULE_PARM_DESC(enable, "Use firmware-assisted dump (default: on)");

struct fadump fadump = {
	.lock = __MUTEX_INITIALIZER(fadump.lock),
};

/* How fadump_attach() found the dump, for fadump_start(). */
static int fadump_read_ret;
static struct fadump_why fadump_read_why;

/* Registered before a suspend. */
static bool fadump_resume_registered;

/* ------------------------------------------------------------------ */
/* What the device does on its own					*/

/*
 * Ordered, and freezable: adding memory and suspending do not go together.
 * Hibernation even holds the lock of memory hotplug while it suspends devices.
 */
static struct workqueue_struct *fadump_wq;
/* for fadump_events_on, which is looked at in interrupt context */
static DEFINE_SPINLOCK(fadump_event_lock);
static bool fadump_events_on;

/*
 * Whatever the interrupt was for: what counts is how things are now, so a device
 * that interrupts for nothing is not believed anything.
 */
static void fadump_event_fn(struct work_struct *work)
{
	if (fadump_release_due() && !fadump_release())
		fadump_sysfs_released();
}

static DECLARE_WORK(fadump_event_work, fadump_event_fn);

/* Deferrable: an idle CPU is not woken to look at a flag. */
#define FADUMP_KDUMP_POLL	(10 * HZ)

static void fadump_kdump_fn(struct work_struct *work);
static DECLARE_DEFERRABLE_WORK(fadump_kdump_work, fadump_kdump_fn);

static void fadump_kdump_fn(struct work_struct *work)
{
	mutex_lock(&fadump.lock);
	fadump_tell_kdump();
	mutex_unlock(&fadump.lock);
	queue_delayed_work(fadump_wq, &fadump_kdump_work, FADUMP_KDUMP_POLL);
}

/**
 * fadump_event - something has changed in the device
 *
 * To be called by the front, in any context but NMI.
 */
void fadump_event(void)
{
	unsigned long flags;

	spin_lock_irqsave(&fadump_event_lock, flags);
	if (fadump_events_on)
		queue_work(fadump_wq, &fadump_event_work);
	spin_unlock_irqrestore(&fadump_event_lock, flags);
}
EXPORT_SYMBOL_GPL(fadump_event);

/* What has come already is handled, too. */
static void fadump_events_start(void)
{
	spin_lock_irq(&fadump_event_lock);
	fadump_events_on = true;
	spin_unlock_irq(&fadump_event_lock);
	fadump_event();
	queue_delayed_work(fadump_wq, &fadump_kdump_work, FADUMP_KDUMP_POLL);
}

/* Waits for one that is being handled: not under the lock. */
static void fadump_events_stop(void)
{
	spin_lock_irq(&fadump_event_lock);
	fadump_events_on = false;
	spin_unlock_irq(&fadump_event_lock);
	cancel_work_sync(&fadump_event_work);
	cancel_delayed_work_sync(&fadump_kdump_work);
}

/* ------------------------------------------------------------------ */
/* The device's life							*/

/*
 * A dump that has been saved would be saved again in the next boot. Not before kexec:
 * what boots then could use none of the memory that comes back.
 */
static void fadump_reboot_saved(unsigned long event, const char *cmd)
{
	if (event != SYS_RESTART || (cmd && !strcmp(cmd, "kexec reboot")))
		return;
	if (fadump.dump != FADUMP_DUMP_ACTIVE || !fadump_saved())
		return;
	pr_notice("dump %pUb has been saved: it is released at this reboot\n",
		  fadump.desc.dump_id);
	if (fadump_dump_drop())
		return;
	fadump.dump = FADUMP_DUMP_RELEASED;
	fadump_hook_disarm();
}

/*
 * To the device a reset while registered is a crash. So tell it before an
 * orderly one: reboot, halt, power-off and kexec all come by here.
 */
static int fadump_reboot_event(struct notifier_block *nb, unsigned long event,
			       void *ptr)
{
	mutex_lock(&fadump.lock);
	if (!fadump.closed)
		fadump_reboot_saved(event, ptr);
	WRITE_ONCE(fadump.closed, true);
	if (fadump_unregister()) {
		/* Requests do not work; the trigger needs none. */
		fadump_hook_disarm();
		fadump.dev->ops->fadump_trigger(fadump.dev->priv,
						FADUMP_TRIGGER_UNREGISTER);
		fadump.registered = false;
	}
	mutex_unlock(&fadump.lock);
	return NOTIFY_DONE;
}

static struct notifier_block fadump_reboot_nb = {
	.notifier_call	= fadump_reboot_event,
	/* last, so that what the others do is still covered */
	.priority	= INT_MIN,
};

static int fadump_may_attach(void)
{
	/* The dump that kdump's kernel saves is not ours to disturb. */
	if (is_kdump_kernel()) {
		pr_info("not used in a kdump kernel\n");
		return -ENODEV;
	}
	/* The host cannot read its memory, nor reset its vCPUs. */
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT) ||
	    cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_err("not used: the memory of this guest is encrypted\n");
		return -ENODEV;
	}
	return 0;
}

/**
 * fadump_attach - there is a device
 * @dev: its description; to be kept until fadump_detach()
 *
 * To be called before the host sees a driver: it may release the dump from then
 * on, and without the descriptor nobody here knows what memory came back. The
 * device takes no requests yet.
 *
 * Return: 0 or a negative errno, which has been reported.
 */
int fadump_attach(const struct fadump_device *dev)
{
	struct fadump_status st;
	int ret;

	ret = fadump_may_attach();
	if (ret)
		return ret;

	mutex_lock(&fadump.lock);
	if (fadump.dev) {
		pr_err("one device is in use, a second one is not supported\n");
		mutex_unlock(&fadump.lock);
		return -EBUSY;
	}
	fadump.dev = dev;
	fadump.enabled = fadump_enable;
	fadump.release_wanted = false;
	WRITE_ONCE(fadump.closed, false);

	fadump_get_status(&st);
	fadump_read_why = (struct fadump_why) { "" };
	fadump_read_ret = 0;
	if (st.state == FADUMP_STATE_DUMP && !fadump.enabled) {
		pr_warn("the device holds a dump, and its memory is withheld; load with enable=1 to save or release it\n");
	} else if (st.state == FADUMP_STATE_DUMP) {
		fadump_read_ret = fadump_dump_read(&fadump_read_why);
		fadump.dump = FADUMP_DUMP_ACTIVE;
	}
	mutex_unlock(&fadump.lock);
	return 0;
}
EXPORT_SYMBOL_GPL(fadump_attach);

/* Undoes what fadump_start() did under the lock. */
static void fadump_halt(void)
{
	mutex_lock(&fadump.lock);
	WRITE_ONCE(fadump.closed, true);
	fadump_unregister();
	fadump_hook_disarm();
	mutex_unlock(&fadump.lock);
	fadump_hook_exit();
}

/**
 * fadump_start - the attached device takes requests
 *
 * Return: 0 or a negative errno; then the device is still attached.
 */
int fadump_start(void)
{
	int ret;

	ret = fadump_hook_init();
	if (ret)
		return ret;

	mutex_lock(&fadump.lock);
	if (fadump_dump_held()) {
		/*
		 * A crash from now on is not captured, as one dump is held
		 * already. But it is counted and the machine reset, instead of
		 * hanging in a panic.
		 */
		fadump_hook_arm(fadump.dev);
		fadump_dump_take(fadump_read_ret, &fadump_read_why);
	} else if (fadump.enabled && fadump_register_wanted()) {
		/* Failing is no reason to go: the user sees it. */
		fadump_register();
	}
	mutex_unlock(&fadump.lock);

	ret = register_reboot_notifier(&fadump_reboot_nb);
	if (ret)
		goto out_halt;
	ret = fadump_sysfs_init();
	if (ret)
		goto out_reboot;
	/* Only now: a release by the host takes one of the files away. */
	fadump_events_start();
	return 0;

out_reboot:
	unregister_reboot_notifier(&fadump_reboot_nb);
out_halt:
	fadump_halt();
	return ret;
}
EXPORT_SYMBOL_GPL(fadump_start);

/**
 * fadump_stop - the device goes away, and takes requests until this returns
 *
 * Memory that is being added stops at the next chunk.
 */
void fadump_stop(void)
{
	WRITE_ONCE(fadump.closed, true);
	/* First: a release by the host takes one of the files away. */
	fadump_events_stop();
	fadump_sysfs_exit();
	unregister_reboot_notifier(&fadump_reboot_nb);
	fadump_halt();
}
EXPORT_SYMBOL_GPL(fadump_stop);

/**
 * fadump_detach - the device has been reset, or has not been started
 *
 * It keeps the dump, and the next attach finds it again.
 */
void fadump_detach(void)
{
	mutex_lock(&fadump.lock);
	fadump_dump_forget();
	fadump.dump = FADUMP_DUMP_NONE;
	/* The reset took the registration with it: nothing goes there any more. */
	fadump.registered = false;
	fadump_dest_release();
	fadump.dev = NULL;
	mutex_unlock(&fadump.lock);
}
EXPORT_SYMBOL_GPL(fadump_detach);

/**
 * fadump_freeze - the system is being suspended, and the device will be reset
 *
 * Return: 0; or a negative errno: the device stays as it is.
 */
int fadump_freeze(void)
{
	bool registered;
	int ret = 0;

	/* They are frozen, so none is at work; from now on none is queued. */
	fadump_events_stop();
	mutex_lock(&fadump.lock);
	registered = fadump.registered;
	if (fadump_dump_held()) {
		/* A hibernated machine is powered off, and the dump with it. */
		pr_warn("a dump is held: save and release it before suspending\n");
		ret = -EBUSY;
	} else {
		/* The firmware of a resuming machine may reset it: no crash. */
		WRITE_ONCE(fadump.closed, true);
		ret = fadump_unregister();
		WRITE_ONCE(fadump.closed, !ret);
	}
	fadump_resume_registered = !ret && registered;
	mutex_unlock(&fadump.lock);
	if (ret)
		fadump_events_start();
	return ret;
}
EXPORT_SYMBOL_GPL(fadump_freeze);

/**
 * fadump_thaw - the system has been resumed, the device takes requests again
 */
void fadump_thaw(void)
{
	mutex_lock(&fadump.lock);
	WRITE_ONCE(fadump.closed, false);
	if (fadump_resume_registered)
		fadump_register();
	fadump_resume_registered = false;
	mutex_unlock(&fadump.lock);
	fadump_events_start();
}
EXPORT_SYMBOL_GPL(fadump_thaw);

static int __init fadump_init(void)
{
	int ret;

	fadump_wq = alloc_ordered_workqueue("fadump", WQ_FREEZABLE);
	if (!fadump_wq)
		return -ENOMEM;
	ret = fadump_dest_init();
	if (ret) {
		destroy_workqueue(fadump_wq);
		return ret;
	}
	ret = fadump_online_init();
	if (ret)
		pr_warn("memory blocks cannot be found (%d): a release relies on the kernel to online memory\n",
			ret);
	return 0;
}
module_init(fadump_init);

static void __exit fadump_exit(void)
{
	fadump_online_exit();
	fadump_dest_exit();
	fadump_claim_exit();
	destroy_workqueue(fadump_wq);
}
module_exit(fadump_exit);

MODULE_DESCRIPTION("Firmware-assisted dump for virtual machines");
MODULE_LICENSE("GPL");
