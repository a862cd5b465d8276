// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Has the dump been saved? For a system that saves and then reboots.
 *
 * Tools that were made for kdump end with a reboot, since a kdump kernel does. They know
 * nothing of release_mem, and the boot after that would find the dump once more, save
 * it once more, and so on. So an orderly reboot releases a dump that somebody has
 * saved; one that was not saved is kept.
 *
 * That it was saved is told by those who had /proc/vmcore open: in the order in which
 * they opened it, one has written much, as a log or what crash prints is not, and ended
 * with status 0, and none after it has ended otherwise. What was read says
 * less: makedumpfile leaves most out, and one that finds the disk full has read nearly
 * all.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>

#include "fadump.h"

static bool fadump_release_saved = true;
module_param_named(release_saved, fadump_release_saved, bool, 0644);
MODULE_PARM_DESC(release_saved,
		 "An orderly reboot releases a dump that has been saved (default: on)");

/* A compressed dump of the smallest guest has more, a kernel log less. */
#define FADUMP_SAVED_MIN	SZ_8M

/*
 * Programs that have had the file open, oldest first. The references keep the task
 * structures, some KiB each, so there are few: a tool opens it two or three times.
 */
static struct task_struct *fadump_readers[8];
static unsigned int fadump_nr_readers;
/* what those have said that are not in the list any more */
static bool fadump_saved_before;
static DEFINE_MUTEX(fadump_readers_lock);

/* With it, has the dump been saved, if @saved is what the ones before it say? */
static bool fadump_saved_by(struct task_struct *task, bool saved)
{
	/* It may go on to save, or to fail. */
	if (!READ_ONCE(task->exit_state))
		return false;
	if (task->exit_code)
		return false;
#ifdef CONFIG_TASK_XACCT
	return saved || task->ioac.wchar >= FADUMP_SAVED_MIN;
#else
	return saved;
#endif
}

/**
 * fadump_saved_opened - the current program has opened /proc/vmcore
 */
void fadump_saved_opened(void)
{
	struct task_struct *task = current->group_leader;
	unsigned int i;

	mutex_lock(&fadump_readers_lock);
	for (i = 0; i < fadump_nr_readers; i++)
		if (fadump_readers[i] == task)
			goto out;
	if (fadump_nr_readers == ARRAY_SIZE(fadump_readers)) {
		fadump_saved_before = fadump_saved_by(fadump_readers[0],
						      fadump_saved_before);
		put_task_struct(fadump_readers[0]);
		fadump_nr_readers--;
		memmove(&fadump_readers[0], &fadump_readers[1],
			fadump_nr_readers * sizeof(fadump_readers[0]));
	}
	fadump_readers[fadump_nr_readers++] = get_task_struct(task);
out:
	mutex_unlock(&fadump_readers_lock);
}

/**
 * fadump_saved - has the dump been saved by who has had it open?
 *
 * Return: as far as that can be told, and true only if the user wants it to count.
 */
bool fadump_saved(void)
{
	bool saved;
	unsigned int i;

	mutex_lock(&fadump_readers_lock);
	saved = fadump_saved_before;
	for (i = 0; i < fadump_nr_readers; i++)
		saved = fadump_saved_by(fadump_readers[i], saved);
	mutex_unlock(&fadump_readers_lock);
	return saved && READ_ONCE(fadump_release_saved);
}

/**
 * fadump_saved_forget - there is no dump any more
 */
void fadump_saved_forget(void)
{
	mutex_lock(&fadump_readers_lock);
	while (fadump_nr_readers)
		put_task_struct(fadump_readers[--fadump_nr_readers]);
	fadump_saved_before = false;
	mutex_unlock(&fadump_readers_lock);
}
