// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Claims: preserved memory and the window, as resources of this driver.
 *
 * What is not the driver's own is never mapped and never added. Firmware has
 * preserved memory in its map as reserved, or not at all. The kernel has made
 * resources of what is reserved, but not busy ones, so a claim lies inside of
 * one or where there is none; where anybody has a resource, System RAM too, it
 * is refused.
 *
 * After the release the claims are what has yet to be added: they are cut into
 * pieces, opened, and gone once their memory is the kernel's. All here is called
 * while the device is attached or detached, or by the one release there is.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#ifdef CONFIG_X86
#include <asm/processor.h>
#endif

#include "fadump.h"

/* ascending */
static LIST_HEAD(fadump_claims);

/* What came back, for as long as this module is loaded. */
static LIST_HEAD(fadump_added);
static DEFINE_SPINLOCK(fadump_added_lock);

static u64 fadump_cpu_limit(void)
{
#ifdef CONFIG_X86
	return 1ULL << boot_cpu_data.x86_phys_bits;
#else
	return 1ULL << MAX_PHYSMEM_BITS;
#endif
}

/**
 * fadump_phys_limit - how far does memory reach?
 *
 * Return: first address that the CPU cannot reach or the kernel cannot have as
 * memory.
 */
u64 fadump_phys_limit(void)
{
	struct range mhp = mhp_get_pluggable_range(true);

	return min(mhp.end + 1ULL, fadump_cpu_limit());
}

/**
 * fadump_claim_close - nobody else may have this memory
 * @c: a claim
 */
void fadump_claim_close(struct fadump_claim *c)
{
	if (!c->res)
		c->res = request_mem_region(c->start, c->end - c->start,
					    c->kind == FADUMP_CLAIM_WINDOW ?
					    "fadump window" :
					    "fadump preserved");
}

/**
 * fadump_claim_open - somebody else may have this memory
 * @c: a claim; it stays in the list
 */
void fadump_claim_open(struct fadump_claim *c)
{
	if (c->res)
		release_mem_region(c->start, c->end - c->start);
	c->res = NULL;
}

static void fadump_claim_free(struct fadump_claim *c)
{
	fadump_claim_open(c);
	list_del(&c->entry);
	kfree(c);
}

/**
 * fadump_claim_free_all - give all claims up
 */
void fadump_claim_free_all(void)
{
	struct fadump_claim *c, *next;

	list_for_each_entry_safe(c, next, &fadump_claims, entry)
		fadump_claim_free(c);
}

static bool fadump_claim(u64 start, u64 end, u32 node,
			 enum fadump_claim_kind kind)
{
	struct fadump_claim *c;

	if (start == end)
		return true;
	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return false;
	c->kind = kind;
	c->start = start;
	c->end = end;
	c->node = node;
	fadump_claim_close(c);
	if (!c->res) {
		kfree(c);
		return false;
	}
	list_add_tail(&c->entry, &fadump_claims);
	return true;
}

/*
 * Also what fills no block, at both ends: none of it is anybody's. But what ACPI
 * or virtio-mem gives back is theirs, and virtio-mem has all of its region as a
 * resource, which could not be if there were one in it. That it is no RAM now
 * the descriptor's check has seen.
 */
static bool fadump_claim_span(const struct fadump_span *s)
{
	if (s->hotplug)
		return true;
	return fadump_claim(s->start, s->add_start, s->node,
			    FADUMP_CLAIM_REST) &&
	       fadump_claim(s->add_start, s->add_end, s->node,
			    FADUMP_CLAIM_BLOCKS) &&
	       fadump_claim(s->add_end, s->end, s->node, FADUMP_CLAIM_REST);
}

/**
 * fadump_claim_preserved - claim what the dump left in place
 * @why: filled in if somebody else has some of it
 *
 * The descriptor has been checked, but for this.
 *
 * Return: 0 or a negative errno; nothing is claimed then.
 */
int fadump_claim_preserved(struct fadump_why *why)
{
	struct fadump_span *spans;
	u32 i, nr;

	spans = kvcalloc(fadump.desc.nr_ranges, sizeof(*spans), GFP_KERNEL);
	if (!spans) {
		fadump_refuse(why, "no memory for its ranges");
		return -ENOMEM;
	}
	nr = fadump_plan_spans(&fadump.desc, memory_block_size_bytes(), spans);
	for (i = 0; i < nr; i++) {
		const struct fadump_span *s = &spans[i];

		if (fadump_claim_span(s))
			continue;
		fadump_refuse(why, "[0x%llx + 0x%llx] is in use by others",
			      s->start, s->end - s->start);
		fadump_claim_free_all();
		kvfree(spans);
		return -EBUSY;
	}
	kvfree(spans);
	return 0;
}

/**
 * fadump_claim_window - claim the window
 * @why: filled in if it cannot be had
 *
 * Return: 0 or a negative errno.
 */
int fadump_claim_window(struct fadump_why *why)
{
	const struct fadump_extent *w = &fadump.dev->window;

	if (!w->len || !PAGE_ALIGNED(w->addr) || w->addr + w->len < w->addr ||
	    w->addr + w->len > fadump_cpu_limit())
		return fadump_refuse(why,
				     "its window [0x%llx + 0x%llx] is not aligned or out of this CPU's reach",
				     w->addr, w->len);
	if (region_intersects(w->addr, w->len, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT)
		return fadump_refuse(why,
				     "its window [0x%llx + 0x%llx] is RAM of this boot",
				     w->addr, w->len);
	if (!fadump_claim(w->addr, w->addr + w->len, VIRTIO_FADUMP_NODE_NONE,
			  FADUMP_CLAIM_WINDOW)) {
		fadump_refuse(why, "its window [0x%llx + 0x%llx] is in use",
			      w->addr, w->len);
		return -EBUSY;
	}
	return 0;
}

/**
 * fadump_claim_drop_others - the dump is gone: keep only what is to be added
 * @lost: bytes that fill no memory block, and come back with the next boot
 */
void fadump_claim_drop_others(u64 *lost)
{
	struct fadump_claim *c, *next;

	*lost = 0;
	list_for_each_entry_safe(c, next, &fadump_claims, entry) {
		if (c->kind == FADUMP_CLAIM_BLOCKS)
			continue;
		if (c->kind == FADUMP_CLAIM_REST)
			*lost += c->end - c->start;
		fadump_claim_free(c);
	}
}

/**
 * fadump_claim_bytes - how much is to be added?
 *
 * Return: bytes.
 */
u64 fadump_claim_bytes(void)
{
	struct fadump_claim *c;
	u64 bytes = 0;

	list_for_each_entry(c, &fadump_claims, entry)
		if (c->kind == FADUMP_CLAIM_BLOCKS)
			bytes += c->end - c->start;
	return bytes;
}

/**
 * fadump_claim_next - what is to be added next
 * @from: address to begin at
 *
 * Return: the first claim there, or NULL.
 */
struct fadump_claim *fadump_claim_next(u64 from)
{
	struct fadump_claim *c;

	list_for_each_entry(c, &fadump_claims, entry)
		if (c->kind == FADUMP_CLAIM_BLOCKS && c->start >= from)
			return c;
	return NULL;
}

/**
 * fadump_claim_added - its memory is the kernel's now
 * @c: it is gone afterwards
 */
void fadump_claim_added(struct fadump_claim *c)
{
	struct fadump_claim *last = NULL;

	list_del(&c->entry);
	spin_lock(&fadump_added_lock);
	if (!list_empty(&fadump_added))
		last = list_last_entry(&fadump_added, struct fadump_claim,
				       entry);
	if (last && last->end == c->start) {
		last->end = c->end;
	} else {
		list_add_tail(&c->entry, &fadump_added);
		c = NULL;
	}
	spin_unlock(&fadump_added_lock);
	kfree(c);
}

/**
 * fadump_claim_came_back - did this driver add that memory?
 * @addr: its address
 *
 * Return: true if so, since the module was loaded.
 */
bool fadump_claim_came_back(u64 addr)
{
	struct fadump_claim *c;
	bool found = false;

	spin_lock(&fadump_added_lock);
	list_for_each_entry(c, &fadump_added, entry)
		if (addr >= c->start && addr < c->end)
			found = true;
	spin_unlock(&fadump_added_lock);
	return found;
}

/**
 * fadump_claim_exit - forget what came back
 */
void fadump_claim_exit(void)
{
	struct fadump_claim *c, *next;

	list_for_each_entry_safe(c, next, &fadump_added, entry)
		kfree(c);
}

/**
 * fadump_claim_cut - cut a claim in two
 * @c: a claim
 * @len: bytes that its first part is to have
 *
 * Return: the first part, @c being the rest of it; @c if that is all of it; NULL
 * if there is no memory, and @c is as it was.
 */
struct fadump_claim *fadump_claim_cut(struct fadump_claim *c, u64 len)
{
	u64 mid = c->start + len;
	struct fadump_claim *front;

	if (len >= c->end - c->start)
		return c;
	front = kmemdup(c, sizeof(*c), GFP_KERNEL);
	if (!front)
		return NULL;
	if (c->res && adjust_resource(c->res, mid, c->end - mid)) {
		kfree(front);
		return NULL;
	}
	c->start = mid;
	front->end = mid;
	front->res = NULL;
	fadump_claim_close(front);
	list_add_tail(&front->entry, &c->entry);
	return front;
}
