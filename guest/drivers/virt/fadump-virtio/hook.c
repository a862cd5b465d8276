// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The crash hook: tells the device, at the moment of the crash.
 *
 * The moment is where kdump would jump to its kernel: the message and the
 * backtrace are in the log, and the other CPUs still run, so that the device
 * sees their registers as they were and not those of the stop handler. A kprobe
 * on __crash_kexec() is there on a panic and on a fatal oops alike. Should it
 * not be possible, or be missed (a crash inside of another kprobe's handler),
 * the panic notifier comes later, with the other CPUs stopped.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kexec.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>

#include "fadump-virtio.h"

/*
 * The device stops this vCPU at its next chance and never lets it go on. Ten
 * seconds are for a host under heavy load; only a device that ignores the
 * trigger makes us wait them out.
 */
#define FADUMP_TRIGGER_WAIT_MS		10000

static bool fadump_prefer;
module_param_named(prefer, fadump_prefer, bool, 0644);
MODULE_PARM_DESC(prefer,
		 "Capture even if a kdump kernel is loaded (default: off, kdump wins)");

/* The device to tell; NULL if it is neither registered nor holds a dump. */
static struct virtio_device *fadump_armed;
static atomic_t fadump_fired = ATOMIC_INIT(0);
static bool fadump_have_kprobe;

void fadump_hook_arm(struct virtio_device *vdev)
{
	atomic_set(&fadump_fired, 0);
	/* A hook that sees the device sees fadump_fired cleared. */
	smp_store_release(&fadump_armed, vdev);
}

void fadump_hook_disarm(void)
{
	WRITE_ONCE(fadump_armed, NULL);
}

/*
 * May run in NMI context, with any lock held by anyone: one write of 32 bits to
 * the device's registers, straight through the transport. virtio_cwrite() would
 * do the same but may sleep for transports that are not PCI.
 */
static void fadump_trigger(struct virtio_device *vdev, u32 action)
{
	__le32 val = cpu_to_le32(action);

	vdev->config->set(vdev, offsetof(struct virtio_fadump_config, trigger),
			  &val, sizeof(val));
}

static void fadump_crash(void)
{
	struct virtio_device *vdev;
	unsigned int ms;

	/* Pairs with fadump_hook_arm(). */
	vdev = smp_load_acquire(&fadump_armed);
	if (!vdev || atomic_cmpxchg(&fadump_fired, 0, 1))
		return;

	if (kexec_crash_loaded() && !READ_ONCE(fadump_prefer)) {
		/*
		 * kdump's kernel takes over, and ends with a reset. To a device
		 * that is still registered that would be one more crash.
		 */
		fadump_trigger(vdev, VIRTIO_FADUMP_TRIGGER_DISARM);
		WRITE_ONCE(fadump_armed, NULL);
		return;
	}

	fadump_trigger(vdev, VIRTIO_FADUMP_TRIGGER_PANIC);
	for (ms = 0; ms < FADUMP_TRIGGER_WAIT_MS; ms++)
		mdelay(1);

	/* Still here: let the panic take its ordinary course. */
	pr_emerg("the device did not act on the crash\n");
}

NOKPROBE_SYMBOL(fadump_crash);

static int fadump_kprobe_pre(struct kprobe *p, struct pt_regs *regs)
{
	fadump_crash();
	return 0;
}

NOKPROBE_SYMBOL(fadump_kprobe_pre);

static struct kprobe fadump_kprobe = {
	.symbol_name	= "__crash_kexec",
	.pre_handler	= fadump_kprobe_pre,
};

static int fadump_panic_event(struct notifier_block *nb, unsigned long event,
			      void *ptr)
{
	fadump_crash();
	return NOTIFY_DONE;
}

static struct notifier_block fadump_panic_nb = {
	.notifier_call	= fadump_panic_event,
	/* before anything that may not come back */
	.priority	= INT_MAX,
};

int fadump_hook_init(void)
{
	int ret;

	ret = atomic_notifier_chain_register(&panic_notifier_list,
					     &fadump_panic_nb);
	if (ret)
		return ret;

	/* A kprobe that was unregistered keeps state that must not be reused. */
	fadump_kprobe = (struct kprobe) {
		.symbol_name	= "__crash_kexec",
		.pre_handler	= fadump_kprobe_pre,
	};
	ret = register_kprobe(&fadump_kprobe);
	fadump_have_kprobe = !ret;
	if (ret)
		pr_info("no kprobe on __crash_kexec (%d), dumps will show the other CPUs as stopped by the panic\n",
			ret);
	return 0;
}

void fadump_hook_exit(void)
{
	if (fadump_have_kprobe)
		unregister_kprobe(&fadump_kprobe);
	fadump_have_kprobe = false;
	atomic_notifier_chain_unregister(&panic_notifier_list,
					 &fadump_panic_nb);
}
