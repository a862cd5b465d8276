// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What userspace sees: /sys/kernel/fadump as on powerpc, with the same modes,
 * values and errnos, so that kdump tools need not know the difference; and
 * fadump_region in debugfs.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "fadump.h"

static struct kobject *fadump_kobj;
static struct dentry *fadump_debugfs;

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", fadump.enabled);
}

static ssize_t registered_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	struct fadump_status st;
	bool registered;

	mutex_lock(&fadump.lock);
	/* The device decides whether a crash is captured, so ask it. */
	fadump_get_status(&st);
	registered = fadump.registered && st.state == FADUMP_STATE_REGISTERED;
	mutex_unlock(&fadump.lock);
	return sysfs_emit(buf, "%d\n", registered);
}

static ssize_t registered_store(struct kobject *kobj,
				struct kobj_attribute *attr,
				const char *buf, size_t count)
{
	int input, ret = 0;

	if (!fadump.enabled || fadump_dump_held())
		return -EPERM;
	if (kstrtoint(buf, 0, &input))
		return -EINVAL;

	mutex_lock(&fadump.lock);
	switch (input) {
	case 0:
		ret = fadump_unregister();
		break;
	case 1:
		ret = fadump_unregister();
		if (!ret)
			ret = fadump_register();
		break;
	default:
		ret = -EINVAL;
		break;
	}
	mutex_unlock(&fadump.lock);
	return ret < 0 ? ret : count;
}

/*
 * The point of it all is that this is 0: boot memory is set aside by the host,
 * at the crash. Where the host has no memory for it, it is what the guest keeps.
 */
static ssize_t mem_reserved_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	u64 bytes;

	mutex_lock(&fadump.lock);
	bytes = fadump_destmem_taken();
	mutex_unlock(&fadump.lock);
	return sysfs_emit(buf, "%llu\n", bytes);
}

/* The ELF header is made after the crash, so hotplug needs no registration. */
static ssize_t hotplug_ready_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", 1);
}

/* What "registered" does not say: a panic would be kdump's all the same. */
static ssize_t kdump_first_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", fadump_kdump_first());
}

/* Two numbers and nothing else. */
static int fadump_parse_range(const char *buf, size_t count, u64 *addr,
			      u64 *len)
{
	u64 mask = fadump.dev->discard_size - 1;
	char text[64], *rest = text, *first;

	if (count >= sizeof(text))
		return -EINVAL;
	memcpy(text, buf, count);
	text[count] = '\0';
	rest = strim(rest);
	first = strsep(&rest, " \t");
	if (!rest || kstrtou64(first, 0, addr) ||
	    kstrtou64(skip_spaces(rest), 0, len))
		return -EINVAL;
	if (!*len || (*addr | *len) & mask || *addr + *len < *addr)
		return -EINVAL;
	return 0;
}

static ssize_t discard_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	const struct fadump_device *dev = fadump.dev;
	u64 addr, len;
	int ret;

	ret = fadump_parse_range(buf, count, &addr, &len);
	if (ret)
		return ret;

	mutex_lock(&fadump.lock);
	ret = fadump.dump == FADUMP_DUMP_ACTIVE ?
	      dev->ops->fadump_discard(dev->priv, addr, len) : -ENOENT;
	mutex_unlock(&fadump.lock);
	return ret < 0 ? ret : count;
}

static struct kobj_attribute discard_attr = __ATTR(discard, 0200, NULL,
						   discard_store);

static ssize_t release_mem_store(struct kobject *kobj,
				 struct kobj_attribute *attr,
				 const char *buf, size_t count)
{
	int input, ret;

	if (READ_ONCE(fadump.dump) == FADUMP_DUMP_NONE)
		return -EPERM;
	if (kstrtoint(buf, 0, &input) || input != 1)
		return -EINVAL;

	/*
	 * The file goes away with the dump, from inside of this call, so that
	 * removing the directory no longer waits for us. Stay loaded until then.
	 */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;

	ret = fadump_release();

	/* Not fadump_sysfs_released(), which would wait for ourselves. */
	if (!ret) {
		sysfs_remove_file(kobj, &discard_attr.attr);
		sysfs_remove_link(kernel_kobj, "fadump_release_mem");
		sysfs_remove_file_self(kobj, &attr->attr);
	}
	module_put(THIS_MODULE);
	return ret < 0 ? ret : count;
}

static struct kobj_attribute enabled_attr = __ATTR_RO(enabled);
static struct kobj_attribute registered_attr = __ATTR_RW(registered);
static struct kobj_attribute mem_reserved_attr = __ATTR_RO(mem_reserved);
static struct kobj_attribute hotplug_ready_attr = __ATTR_RO(hotplug_ready);
static struct kobj_attribute kdump_first_attr = __ATTR_RO(kdump_first);
static struct kobj_attribute release_mem_attr = __ATTR_WO(release_mem);

static struct attribute *fadump_attrs[] = {
	&enabled_attr.attr,
	&registered_attr.attr,
	&mem_reserved_attr.attr,
	&hotplug_ready_attr.attr,
	&kdump_first_attr.attr,
	NULL,
};

static const struct attribute_group fadump_group = {
	.attrs = fadump_attrs,
};

static void fadump_show_piece(struct seq_file *m, u64 src, u64 dst, u64 len,
			      u64 held)
{
	seq_printf(m, "DUMP: Src: %#016llx, Dest: %#016llx, Size: %#llx, Dumped: %#llx bytes\n",
		   src, dst, len, held);
}

static void fadump_show_cpus(struct seq_file *m, u64 dst, u64 len)
{
	seq_printf(m, "CPU :[%#016llx-%#016llx] %#llx bytes, Dumped: %#llx\n",
		   dst, len ? dst + len - 1 : dst, len, len);
}

/* What a dump consists of. */
static void fadump_show_dump(struct seq_file *m)
{
	const struct fadump_desc_info *d = &fadump.desc;
	u64 window = fadump.dev->window.addr;
	bool withheld = false;
	u32 i;

	fadump_show_cpus(m, window + d->cpu_notes.off, d->cpu_notes.size);
	for (i = 0; i < d->nr_ranges; i++) {
		struct fadump_range r;

		fadump_desc_range(d, i, &r);
		if (r.where == VIRTIO_FADUMP_WHERE_IN_PLACE) {
			withheld = true;
			continue;
		}
		if (r.where == VIRTIO_FADUMP_WHERE_WINDOW)
			r.dest += window;
		fadump_show_piece(m, r.addr, r.dest, r.len, r.held);
	}
	if (withheld)
		seq_printf(m, "\nMemory beyond %#llx bytes of boot memory is reserved for saving crash dump\n",
			   d->boot_mem);
}

/* What is registered. */
static void fadump_show_pieces(struct seq_file *m)
{
	u32 i;

	fadump_show_cpus(m, 0, 0);
	for (i = 0; i < fadump.pieces.nr; i++) {
		const struct fadump_piece *p = &fadump.pieces.piece[i];

		fadump_show_piece(m, p->src, p->dst, p->len, 0);
	}
}

/* The line format is powerpc's; debugfs has no powerpc directory here. */
static int fadump_region_show(struct seq_file *m, void *private)
{
	if (!fadump.enabled)
		return 0;

	mutex_lock(&fadump.lock);
	if (fadump.dump == FADUMP_DUMP_ACTIVE)
		fadump_show_dump(m);
	else
		fadump_show_pieces(m);
	mutex_unlock(&fadump.lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(fadump_region);

/*
 * The old names, from before there was a directory. Debian's kdump-tools knows
 * no others.
 */
static void fadump_link(const char *target, const char *name)
{
	int ret;

	ret = compat_only_sysfs_link_entry_to_kobj(kernel_kobj, fadump_kobj,
						   target, name);
	if (ret)
		pr_err("unable to create %s symlink (%d)\n", name, ret);
}

static void fadump_sysfs_dump_files(void)
{
	int ret;

	if (READ_ONCE(fadump.dump) != FADUMP_DUMP_NONE) {
		ret = sysfs_create_file(fadump_kobj, &release_mem_attr.attr);
		if (ret)
			pr_err("unable to create release_mem sysfs file (%d)\n",
			       ret);
		else
			fadump_link("release_mem", "fadump_release_mem");
	}
	if (READ_ONCE(fadump.dump) == FADUMP_DUMP_ACTIVE &&
	    fadump.dev->ops->fadump_discard) {
		ret = sysfs_create_file(fadump_kobj, &discard_attr.attr);
		if (ret)
			pr_err("unable to create discard sysfs file (%d)\n",
			       ret);
	}
}

/**
 * fadump_sysfs_init - make the files
 *
 * Return: 0 or a negative errno.
 */
int fadump_sysfs_init(void)
{
	int ret;

	fadump_kobj = kobject_create_and_add("fadump", kernel_kobj);
	if (!fadump_kobj) {
		pr_err("failed to create fadump kobject\n");
		return -ENOMEM;
	}

	ret = sysfs_create_group(fadump_kobj, &fadump_group);
	if (ret) {
		pr_err("sysfs group creation failed (%d)\n", ret);
		kobject_put(fadump_kobj);
		fadump_kobj = NULL;
		return ret;
	}
	fadump_link("enabled", "fadump_enabled");
	fadump_link("registered", "fadump_registered");
	fadump_sysfs_dump_files();

	fadump_debugfs = debugfs_create_dir("fadump", NULL);
	debugfs_create_file("fadump_region", 0444, fadump_debugfs, NULL,
			    &fadump_region_fops);
	debugfs_create_symlink("region", fadump_debugfs, "fadump_region");
	return 0;
}

/**
 * fadump_sysfs_released - the dump was released, by nobody who wrote to the file
 *
 * Waits for whoever is writing: not under the lock.
 */
void fadump_sysfs_released(void)
{
	sysfs_remove_file(fadump_kobj, &discard_attr.attr);
	sysfs_remove_link(kernel_kobj, "fadump_release_mem");
	sysfs_remove_file(fadump_kobj, &release_mem_attr.attr);
}

/**
 * fadump_sysfs_exit - remove the files
 *
 * Waits for whoever is in one of them: not under the lock.
 */
void fadump_sysfs_exit(void)
{
	debugfs_remove(fadump_debugfs);
	fadump_debugfs = NULL;

	if (!fadump_kobj)
		return;
	/* Those that are not there do no harm. */
	sysfs_remove_link(kernel_kobj, "fadump_enabled");
	sysfs_remove_link(kernel_kobj, "fadump_registered");
	sysfs_remove_link(kernel_kobj, "fadump_release_mem");
	kobject_put(fadump_kobj);
	fadump_kobj = NULL;
}
