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
 *
 * A loaded kdump kernel goes first, unless the user prefers otherwise, but it
 * may not start: __crash_kexec() returns while somebody reloads it. In panic()
 *
 *	__crash_kexec()    kprobe: YIELD, and it returned
 *	panic notifiers    kdump had its turn: capture
 *	emergency_restart()
 *
 * and with crash_kexec_post_notifiers
 *
 *	panic notifiers    kdump has yet to come: let it
 *	__crash_kexec()    kprobe: YIELD, and it returned
 *	emergency_restart()    kprobe: kdump had its turn: capture
 *
 * A kdump kernel that takes over does not come back here.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/elfcore.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/string.h>

#ifdef CONFIG_X86_64
#include <asm/switch_to.h>
#endif

#include "fadump.h"

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
static const struct fadump_device *fadump_armed;
static atomic_t fadump_fired = ATOMIC_INIT(0);
/* kdump was given its turn in this panic */
static bool fadump_yielded;

/* Read by the device at the capture; zero until there is a note. */
static void *fadump_note;

/* ------------------------------------------------------------------ */
/* The note								*/

/* Not on the stack, of which a crash may have little left. */
static struct elf_prstatus fadump_prstatus;
static struct pt_regs fadump_regs;

/*
 * From @regs a debugger unwinds to whoever panicked; @ip if not 0 is where they
 * were really taken. May run in NMI context: plain stores to memory of our own.
 */
static void fadump_note_fill(const struct pt_regs *regs, unsigned long ip)
{
	static const struct elf_note hdr = {
		.n_namesz = sizeof("CORE"),
		.n_descsz = sizeof(fadump_prstatus),
		.n_type = NT_PRSTATUS,
	};
	void *to = fadump_note;

	if (!to)
		return;
	fadump_regs = *regs;
	/* A kprobe shows the address of what comes after its breakpoint. */
	if (ip)
		instruction_pointer_set(&fadump_regs, ip);
	memset(&fadump_prstatus, 0, sizeof(fadump_prstatus));
	/* As in the device's own notes: drgn finds a CPU's registers by it. */
	fadump_prstatus.common.pr_pid = raw_smp_processor_id() + 1;
	/*
	 * elf_core_copy_regs() needs what is not exported, to add what no
	 * debugger looks at in kernel code. Up to there the two are alike.
	 */
	memcpy(&fadump_prstatus.pr_reg, &fadump_regs,
	       min(sizeof(fadump_prstatus.pr_reg), sizeof(fadump_regs)));

	memcpy(to + sizeof(hdr), "CORE", sizeof("CORE"));
	memcpy(to + sizeof(hdr) + ALIGN(sizeof("CORE"), 4), &fadump_prstatus,
	       sizeof(fadump_prstatus));
	memcpy(to, &hdr, sizeof(hdr));
}

NOKPROBE_SYMBOL(fadump_note_fill);

/**
 * fadump_hook_note - where the note of the crashing CPU will be
 *
 * Return: address and room, for a registration.
 */
struct fadump_extent fadump_hook_note(void)
{
	return (struct fadump_extent) {
		.addr = virt_to_phys(fadump_note),
		.len = VIRTIO_FADUMP_CRASH_NOTE_MAX,
	};
}

/* ------------------------------------------------------------------ */
/* The moment								*/

/**
 * fadump_hook_arm - from now on a crash is the device's affair
 * @dev: to be told
 */
void fadump_hook_arm(const struct fadump_device *dev)
{
	memset(fadump_note, 0, VIRTIO_FADUMP_CRASH_NOTE_MAX);
	WRITE_ONCE(fadump_yielded, false);
	atomic_set(&fadump_fired, 0);
	/* A hook that sees the device sees all this cleared. */
	smp_store_release(&fadump_armed, dev);
}

/**
 * fadump_hook_disarm - there is nothing to tell any more
 */
void fadump_hook_disarm(void)
{
	WRITE_ONCE(fadump_armed, NULL);
}

/**
 * fadump_kdump_first - does a kdump kernel go first at a panic?
 *
 * Return: as things are now; it may be loaded or unloaded at any time.
 */
bool fadump_kdump_first(void)
{
	return kexec_crash_loaded() && !READ_ONCE(fadump_prefer);
}

NOKPROBE_SYMBOL(fadump_kdump_first);

static void fadump_trigger_and_wait(const struct fadump_device *dev)
{
	unsigned int ms;

	dev->ops->fadump_trigger(dev->priv, FADUMP_TRIGGER_PANIC);
	for (ms = 0; ms < FADUMP_TRIGGER_WAIT_MS; ms++)
		mdelay(1);
}

NOKPROBE_SYMBOL(fadump_trigger_and_wait);

#ifdef CONFIG_X86_64
/*
 * Of a task that runs, thread.sp has no meaning until it is switched out. Have it
 * say that the task stopped where the probe is: crash 8.0.6 takes the frame
 * pointer from there, for tasks that run as well, and with what the last switch
 * left there it shows callers that are none; drgn 0.0.22 starts there.
 */
static void fadump_stop_at(const struct fadump_device *dev,
			   const struct pt_regs *probed)
{
	struct inactive_task_frame frame = {
		.r15 = probed->r15,
		.r14 = probed->r14,
		.r13 = probed->r13,
		.r12 = probed->r12,
		.bx = probed->bx,
		.bp = probed->bp,
		/* probed is the first instruction of a function */
		.ret_addr = *(unsigned long *)kernel_stack_pointer((struct pt_regs *)probed),
	};
	unsigned long sp = current->thread.sp;

	WRITE_ONCE(current->thread.sp, (unsigned long)&frame);
	fadump_trigger_and_wait(dev);
	WRITE_ONCE(current->thread.sp, sp);
}

NOKPROBE_SYMBOL(fadump_stop_at);
#else
static void fadump_stop_at(const struct fadump_device *dev,
			   const struct pt_regs *probed)
{
	fadump_trigger_and_wait(dev);
}
#endif

/*
 * May run in NMI context, with any lock held by anyone. @probe with its registers
 * @probed, or NULL; @fault: the registers of the fault, if there was one.
 */
static void fadump_capture(const struct kprobe *probe,
			   const struct pt_regs *probed,
			   const struct pt_regs *fault)
{
	const struct fadump_device *dev;

	/* Pairs with fadump_hook_arm(). */
	dev = smp_load_acquire(&fadump_armed);
	if (!dev || atomic_cmpxchg(&fadump_fired, 0, 1))
		return;

	/* What kdump has: the fault's if there was one. */
	if (fault)
		fadump_note_fill(fault, 0);
	else if (probe)
		fadump_note_fill(probed, (unsigned long)probe->addr);
	if (probe)
		fadump_stop_at(dev, probed);
	else
		fadump_trigger_and_wait(dev);

	/* Still here: let the panic take its ordinary course. */
	pr_emerg("the device did not act on the crash\n");
}

NOKPROBE_SYMBOL(fadump_capture);

/* kdump's kernel ends with a reset: to the device that would be one more crash. */
static void fadump_yield(void)
{
	const struct fadump_device *dev;

	/* Pairs with fadump_hook_arm(). */
	dev = smp_load_acquire(&fadump_armed);
	if (!dev)
		return;
	dev->ops->fadump_trigger(dev->priv, FADUMP_TRIGGER_YIELD);
	WRITE_ONCE(fadump_yielded, true);
}

NOKPROBE_SYMBOL(fadump_yield);

static int fadump_crash_pre(struct kprobe *p, struct pt_regs *regs)
{
	const struct pt_regs *fault = NULL;

#ifdef CONFIG_HAVE_FUNCTION_ARG_ACCESS_API
	/* __crash_kexec(struct pt_regs *regs): an oops has them, a panic not */
	fault = (const struct pt_regs *)regs_get_kernel_argument(regs, 0);
#endif
	if (fadump_kdump_first())
		fadump_yield();
	else
		fadump_capture(p, regs, fault);
	return 0;
}

NOKPROBE_SYMBOL(fadump_crash_pre);

static int fadump_restart_pre(struct kprobe *p, struct pt_regs *regs)
{
	if (READ_ONCE(fadump_yielded))
		fadump_capture(p, regs, NULL);
	return 0;
}

NOKPROBE_SYMBOL(fadump_restart_pre);

/* No note: the registers that the device sees are as good as ours. */
static int fadump_panic_event(struct notifier_block *nb, unsigned long event,
			      void *ptr)
{
	if (READ_ONCE(fadump_yielded) || !fadump_kdump_first())
		fadump_capture(NULL, NULL, NULL);
	return NOTIFY_DONE;
}

static struct notifier_block fadump_panic_nb = {
	.notifier_call	= fadump_panic_event,
	/* before anything that may not come back */
	.priority	= INT_MAX,
};

/* ------------------------------------------------------------------ */

static struct fadump_probe {
	const char *symbol;
	kprobe_pre_handler_t handler;
	struct kprobe kprobe;
	bool registered;
} fadump_probes[] = {
	{ .symbol = "__crash_kexec", .handler = fadump_crash_pre },
	{ .symbol = "emergency_restart", .handler = fadump_restart_pre },
};

static void fadump_probe_register(struct fadump_probe *p)
{
	int ret;

	/* A kprobe that was unregistered keeps state that must not be reused. */
	p->kprobe = (struct kprobe) {
		.symbol_name	= p->symbol,
		.pre_handler	= p->handler,
	};
	ret = register_kprobe(&p->kprobe);
	p->registered = !ret;
	if (ret)
		pr_info("no kprobe on %s (%d)\n", p->symbol, ret);
}

/**
 * fadump_hook_init - be there at a crash
 *
 * Return: 0 or a negative errno.
 */
int fadump_hook_init(void)
{
	unsigned int i;
	int ret;

	BUILD_BUG_ON(sizeof(struct elf_note) + ALIGN(sizeof("CORE"), 4) +
		     sizeof(struct elf_prstatus) > VIRTIO_FADUMP_CRASH_NOTE_MAX);

	fadump_note = (void *)get_zeroed_page(GFP_KERNEL);
	if (!fadump_note)
		return -ENOMEM;
	ret = atomic_notifier_chain_register(&panic_notifier_list,
					     &fadump_panic_nb);
	if (ret) {
		free_page((unsigned long)fadump_note);
		fadump_note = NULL;
		return ret;
	}
	for (i = 0; i < ARRAY_SIZE(fadump_probes); i++)
		fadump_probe_register(&fadump_probes[i]);
	if (!fadump_probes[0].registered)
		pr_info("dumps will show the other CPUs as stopped by the panic\n");
	return 0;
}

/**
 * fadump_hook_exit - the device has been reset, or is not registered
 */
void fadump_hook_exit(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fadump_probes); i++) {
		if (fadump_probes[i].registered)
			unregister_kprobe(&fadump_probes[i].kprobe);
		fadump_probes[i].registered = false;
	}
	atomic_notifier_chain_unregister(&panic_notifier_list,
					 &fadump_panic_nb);
	free_page((unsigned long)fadump_note);
	fadump_note = NULL;
}
