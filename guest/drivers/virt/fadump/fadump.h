/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware-assisted dump for virtual machines: what the core offers to the
 * driver of a device, its front, and what the core's files share.
 */
#ifndef _FADUMP_H
#define _FADUMP_H

#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>

#include "bootmem.h"
#include "desc.h"

struct elf_prstatus;
struct pt_regs;

/* ------------------------------------------------------------------ */
/* The front								*/

/* What the device is in, and what it says of a dump that it holds. */
struct fadump_status {
	enum {
		FADUMP_STATE_IDLE,
		FADUMP_STATE_REGISTERED,
		FADUMP_STATE_DUMP,
	} state;
	/* the host is reading the dump, and would refuse to release it */
	bool reading;
	/* confined boots since the capture */
	u32 nr_boots;
	/* bytes of the descriptor */
	u64 desc_size;
	/* the largest boot memory that there can be */
	u64 boot_mem_max;
};

/* What a registration says. */
struct fadump_registration {
	u64 boot_mem;
	const struct fadump_pieces *pieces;
	struct fadump_extent vmcoreinfo;
	/* room for the note that the crash hook writes */
	struct fadump_extent crash_note;
};

enum fadump_trigger {
	/* capture; does not return */
	FADUMP_TRIGGER_PANIC,
	/* a kdump kernel takes over: its reset is no crash */
	FADUMP_TRIGGER_YIELD,
	/* as a request to unregister */
	FADUMP_TRIGGER_UNREGISTER,
	/* a kdump kernel is loaded and would take a panic over; or no longer */
	FADUMP_TRIGGER_WILL_YIELD,
	FADUMP_TRIGGER_WONT_YIELD,
};

/**
 * struct fadump_ops - what the core asks of a device
 *
 * After powerpc's. All but fadump_trigger() may sleep, and return 0 or a
 * negative errno that has been reported. @priv is the front's.
 */
struct fadump_ops {
	/** @fadump_get_status: as the device says it now */
	void (*fadump_get_status)(void *priv, struct fadump_status *st);
	/**
	 * @fadump_get_boot_mem: which memory is boot memory if there are to be
	 * @size bytes of it, 0 being the device's own choice? Nothing of the
	 * answer has been checked, but for the number of extents.
	 */
	int (*fadump_get_boot_mem)(void *priv, u64 size,
				   struct fadump_boot_mem *bm);
	/** @fadump_register: from now on a crash is captured */
	int (*fadump_register)(void *priv,
			       const struct fadump_registration *reg);
	/** @fadump_unregister: not any more; -ENOENT: it was not */
	int (*fadump_unregister)(void *priv);
	/**
	 * @fadump_invalidate: drop the dump, its memory is the guest's again;
	 * -ENOENT: there is none; -EBUSY: the host is reading it
	 */
	int (*fadump_invalidate)(void *priv);
	/** @fadump_discard: free what the host has of this; NULL: cannot */
	int (*fadump_discard)(void *priv, u64 addr, u64 len);
	/**
	 * @fadump_trigger: from any context, NMI too: no lock, no allocation,
	 * nothing to wait for
	 */
	void (*fadump_trigger)(void *priv, enum fadump_trigger what);
};

/* A device, as its front describes it; stays as it is while it is attached. */
struct fadump_device {
	const struct fadump_ops *ops;
	void *priv;
	/* where boot memory may go at a crash */
	bool host_mem;
	bool guest_mem;
	/* pieces that boot memory may be cut into */
	u32 max_pieces;
	/* what fadump_discard() takes are multiples of this */
	u64 discard_size;
	/* guest-physical; what the host holds of a dump, descriptor first */
	struct fadump_extent window;
};

int fadump_attach(const struct fadump_device *dev);
int fadump_start(void);
void fadump_event(void);
int fadump_freeze(void);
void fadump_thaw(void);
void fadump_stop(void);
void fadump_detach(void);

/* ------------------------------------------------------------------ */
/* Inside of the core: state						*/

/* The dump that the device holds, as this driver sees it. */
enum fadump_dump {
	/* none */
	FADUMP_DUMP_NONE,
	/* its descriptor was read and is sound */
	FADUMP_DUMP_ACTIVE,
	/*
	 * There is one, but its descriptor cannot be read or trusted. It can be
	 * released so that the next crash is captured; no memory is added.
	 */
	FADUMP_DUMP_UNTRUSTED,
	/* it is gone, but some of its memory has not been added yet */
	FADUMP_DUMP_RELEASED,
};

/*
 * One per machine, as /proc/vmcore is. What several files look at is here; what
 * one file alone needs is in that file.
 */
struct fadump {
	/* all below; never taken by the crash hook, nor held to add memory */
	struct mutex lock;

	/* NULL while no device is attached */
	const struct fadump_device *dev;
	/* fadump=on|off of powerpc */
	bool enabled;
	/* the device said so */
	bool registered;
	/*
	 * orderly shutdown, suspended, or about to be unbound: no registration,
	 * no release. Adding memory looks at it without the lock.
	 */
	bool closed;

	/* of the last registration */
	struct fadump_boot_mem boot_mem;
	struct fadump_pieces pieces;

	enum fadump_dump dump;
	/* the user wants it released, the host was reading it */
	bool release_wanted;
	/* kvmalloc'ed copy that desc points into */
	void *desc_buf;
	struct fadump_desc_info desc;
};

extern struct fadump fadump;

/* Is there one that the device holds, good or not? */
static inline bool fadump_dump_held(void)
{
	enum fadump_dump dump = READ_ONCE(fadump.dump);

	return dump == FADUMP_DUMP_ACTIVE || dump == FADUMP_DUMP_UNTRUSTED;
}

static inline void fadump_get_status(struct fadump_status *st)
{
	fadump.dev->ops->fadump_get_status(fadump.dev->priv, st);
}

/* ------------------------------------------------------------------ */
/* Inside of the core: files, each calls only those above it		*/

/* hook.c */
int fadump_hook_init(void);
void fadump_hook_exit(void);
void fadump_hook_arm(const struct fadump_device *dev);
void fadump_hook_disarm(void);
struct fadump_extent fadump_hook_note(void);
bool fadump_kdump_first(void);

/* online.c */
int fadump_online_init(void);
void fadump_online_exit(void);
bool fadump_block_online(u64 addr);
int fadump_online_block(u64 addr, bool movable);

/* destmem.c */
struct fadump_runs {
	struct fadump_extent *run;
	u32 nr;
	u32 max;
	/* in all of them */
	u64 bytes;
};

int fadump_destmem_get(const struct fadump_boot_mem *bm, u64 need, u32 max,
		       struct fadump_runs *use);
u64 fadump_destmem_taken(void);
void fadump_destmem_release(void);
void fadump_runs_free(struct fadump_runs *runs);

/* dest.c */
int fadump_dest_init(void);
void fadump_dest_exit(void);
bool fadump_dest_in_guest(void);
int fadump_dest_prepare(void);
void fadump_dest_idle(void);
void fadump_dest_release(void);

/* claim.c */
enum fadump_claim_kind {
	/* whole memory blocks, which the release adds */
	FADUMP_CLAIM_BLOCKS,
	/* less than a block: comes back with the next boot */
	FADUMP_CLAIM_REST,
	FADUMP_CLAIM_WINDOW,
};

struct fadump_claim {
	struct list_head entry;
	enum fadump_claim_kind kind;
	u64 start;
	u64 end;
	/* NULL if it is open */
	struct resource *res;
	/* see struct fadump_span */
	u32 node;
	/* added, but some of it is not online */
	bool added;
};

u64 fadump_phys_limit(void);
int fadump_claim_window(struct fadump_why *why);
int fadump_claim_preserved(struct fadump_why *why);
void fadump_claim_drop_others(u64 *lost);
u64 fadump_claim_bytes(void);
struct fadump_claim *fadump_claim_cut(struct fadump_claim *c, u64 len);
struct fadump_claim *fadump_claim_next(u64 from);
void fadump_claim_open(struct fadump_claim *c);
void fadump_claim_close(struct fadump_claim *c);
void fadump_claim_free_all(void);
void fadump_claim_added(struct fadump_claim *c);
bool fadump_claim_came_back(u64 addr);
void fadump_claim_exit(void);

/* saved.c */
void fadump_saved_opened(void);
bool fadump_saved(void);
void fadump_saved_forget(void);

/* vmcore.c */
int fadump_vmcore_create(void);
int fadump_vmcore_show(void);
void fadump_vmcore_hide(void);
void fadump_vmcore_destroy(void);

/* dump.c */
int fadump_dump_read(struct fadump_why *why);
void fadump_dump_take(int ret, const struct fadump_why *why);
int fadump_dump_drop(void);
void fadump_dump_forget(void);

/* register.c */
bool fadump_register_wanted(void);
int fadump_register(void);
int fadump_unregister(void);
void fadump_tell_kdump(void);

/* release.c */
int fadump_release(void);
bool fadump_release_due(void);

/* sysfs.c */
int fadump_sysfs_init(void);
void fadump_sysfs_exit(void);
void fadump_sysfs_released(void);

#endif /* _FADUMP_H */
