// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dump of the last boot: taking it over from the device, and letting it go.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "fadump.h"

/*
 * A descriptor has about 1 KiB for a vCPU and 56 bytes for a memory range: far
 * more than any machine needs, and little enough for boot memory.
 */
#define FADUMP_DESC_MAX		(32UL << 20)

/* virtio-mem has its region as RAM that is not busy, plugged or not. */
static bool fadump_is_ram(u64 addr, u64 len)
{
	return region_intersects(addr, len,
				 IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

/* Looked at only once it has been copied: the host could change what is there. */
static int fadump_copy_desc(u64 size, struct fadump_why *why)
{
	void *map;

	if (!size || size > FADUMP_DESC_MAX || size > fadump.dev->window.len)
		return fadump_refuse(why,
				     "%llu bytes long, the window has %llu",
				     size, fadump.dev->window.len);
	fadump.desc_buf = kvmalloc(size, GFP_KERNEL);
	map = memremap(fadump.dev->window.addr, size, MEMREMAP_WB);
	if (!fadump.desc_buf || !map) {
		if (map)
			memunmap(map);
		fadump_refuse(why, "its %llu bytes cannot be read", size);
		return -ENOMEM;
	}
	memcpy(fadump.desc_buf, map, size);
	memunmap(map);
	return 0;
}

/**
 * fadump_dump_read - read and check the descriptor, claim what it names
 * @why: filled in on failure
 *
 * Return: 0 or a negative errno: the dump is not to be trusted.
 */
int fadump_dump_read(struct fadump_why *why)
{
	const struct fadump_desc_env env = {
		.window_len	= fadump.dev->window.len,
		.phys_limit	= fadump_phys_limit(),
		.is_ram		= fadump_is_ram,
	};
	struct fadump_status st;
	int ret;

	fadump_get_status(&st);
	ret = fadump_claim_window(why);
	if (!ret)
		ret = fadump_copy_desc(st.desc_size, why);
	if (!ret)
		ret = fadump_desc_parse(fadump.desc_buf, st.desc_size, &env,
					&fadump.desc, why);
	if (!ret)
		ret = fadump_claim_preserved(why);
	return ret;
}

static void fadump_dump_say(void)
{
	const struct fadump_desc_info *d = &fadump.desc;
	char cpu[24] = "no vCPU";
	struct fadump_status st;
	u64 missing;

	fadump_get_status(&st);
	if (d->crash_cpu != VIRTIO_FADUMP_CPU_NONE)
		snprintf(cpu, sizeof(cpu), "vCPU %u", d->crash_cpu);
	pr_info("firmware-assisted dump is active\n");
	pr_info("dump %pUb, cause %s, on %s of %u, %llu MiB, captured in %llu us, boot %u since\n",
		d->dump_id, fadump_cause_name(d->cause), cpu, d->nr_vcpus,
		d->bytes_held >> 20, d->capture_ns / NSEC_PER_USEC,
		st.nr_boots);
	if (d->bytes_dest)
		pr_info("not in the dump: 0x%llx bytes of the crashed kernel's memory to which boot memory went\n",
			d->bytes_dest);
	if (d->bytes_firmware)
		pr_info("not in the dump: 0x%llx bytes that firmware kept for itself\n",
			d->bytes_firmware);
	missing = d->bytes_total - d->bytes_dest - d->bytes_firmware -
		  d->bytes_held;
	if (missing)
		pr_warn("0x%llx bytes of memory could not be saved\n", missing);
}

/**
 * fadump_dump_take - the device holds a dump: show it
 * @ret: how fadump_dump_read() ended
 * @why: and why
 */
void fadump_dump_take(int ret, const struct fadump_why *why)
{
	lockdep_assert_held(&fadump.lock);

	if (ret) {
		pr_err("the device holds a dump that cannot be used: %s\n",
		       why->text);
		pr_err("there is no /proc/vmcore; write 1 to /sys/kernel/fadump/release_mem to drop it\n");
		fadump_dump_forget();
		fadump.dump = FADUMP_DUMP_UNTRUSTED;
		return;
	}

	fadump.dump = FADUMP_DUMP_ACTIVE;
	fadump_dump_say();
	/*
	 * No vmcore is no reason to keep the memory away as well: what is known
	 * of it can be trusted.
	 */
	ret = fadump_vmcore_create();
	if (ret)
		pr_err("no /proc/vmcore (%d); write 1 to /sys/kernel/fadump/release_mem to have the memory back\n",
		       ret);
}

/**
 * fadump_dump_drop - have the device drop the dump
 *
 * Ends all use of the dump before: what is used after that is any memory. If it
 * is not dropped, the file is there again; who had it open opens it anew.
 *
 * Return: 0, or a negative errno, which has been reported: -EBUSY, the host is
 * reading the dump, and fadump.release_wanted is set.
 */
int fadump_dump_drop(void)
{
	struct fadump_status st;
	int ret = -EBUSY;

	lockdep_assert_held(&fadump.lock);

	/* Nobody's reading is disturbed for nothing. */
	fadump_get_status(&st);
	if (!st.reading) {
		fadump_vmcore_hide();
		ret = fadump.dev->ops->fadump_invalidate(fadump.dev->priv);
	}
	fadump.release_wanted = ret == -EBUSY;
	if (ret == -ENOENT) {
		pr_notice("the host released dump %pUb\n",
			  fadump.desc.dump_id);
		ret = 0;
	}
	if (!ret) {
		fadump_vmcore_destroy();
		return 0;
	}

	if (ret == -EBUSY)
		pr_warn("the host is reading the dump: it is kept, and will be released when that is done\n");
	else
		pr_err("the device did not release the dump (%d), it is kept\n",
		       ret);
	if (fadump_vmcore_show())
		pr_err("cannot show /proc/vmcore again\n");
	return ret;
}

/**
 * fadump_dump_forget - forget the dump, not the device
 */
void fadump_dump_forget(void)
{
	fadump_vmcore_destroy();
	fadump_saved_forget();
	fadump_claim_free_all();
	memset(&fadump.desc, 0, sizeof(fadump.desc));
	kvfree(fadump.desc_buf);
	fadump.desc_buf = NULL;
}
