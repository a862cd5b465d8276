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
#include <asm/setup.h>

#include "fadump-virtio.h"

static struct kobject *fadump_kobj;
static struct dentry *fadump_debugfs;

static bool fadump_dump_active(void)
{
	return READ_ONCE(fadump.dump) != FADUMP_DUMP_NONE;
}

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", fadump.enabled);
}

static ssize_t registered_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	struct fadump *fd = &fadump;
	bool registered;

	mutex_lock(&fd->lock);
	/* The device decides whether a crash is captured, so ask it. */
	registered = fd->registered &&
		     fadump_device_state(fd) == VIRTIO_FADUMP_STATE_REGISTERED;
	mutex_unlock(&fd->lock);
	return sysfs_emit(buf, "%d\n", registered);
}

static ssize_t registered_store(struct kobject *kobj,
				struct kobj_attribute *attr,
				const char *buf, size_t count)
{
	struct fadump *fd = &fadump;
	int input, ret = 0;

	if (!fd->enabled || fadump_dump_active())
		return -EPERM;
	if (kstrtoint(buf, 0, &input))
		return -EINVAL;

	mutex_lock(&fd->lock);
	switch (input) {
	case 0:
		ret = fadump_unregister(fd);
		break;
	case 1:
		ret = fadump_unregister(fd);
		if (!ret)
			ret = fadump_register(fd);
		break;
	default:
		ret = -EINVAL;
		break;
	}
	mutex_unlock(&fd->lock);
	return ret < 0 ? ret : count;
}

/*
 * The point of it all is that this is 0: boot memory is set aside by the host,
 * at the crash. Where the host has no memory for it, it is what the guest keeps.
 */
static ssize_t mem_reserved_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	struct fadump *fd = &fadump;
	u64 bytes;

	mutex_lock(&fd->lock);
	bytes = fadump_dest_reserved();
	mutex_unlock(&fd->lock);
	return sysfs_emit(buf, "%llu\n", bytes);
}

/* The ELF header is made after the crash, so hotplug needs no registration. */
static ssize_t hotplug_ready_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", 1);
}

static ssize_t bootargs_append_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	struct fadump *fd = &fadump;
	ssize_t n;

	mutex_lock(&fd->lock);
	n = sysfs_emit(buf, "%s\n", fd->param);
	mutex_unlock(&fd->lock);
	return n;
}

/*
 * The kernel's own copy of its command line is not exported. The caller frees
 * this one.
 */
static char *fadump_read_cmdline(void)
{
	struct file *file;
	loff_t pos = 0;
	ssize_t n;
	char *buf;

	buf = kzalloc(COMMAND_LINE_SIZE + 1, GFP_KERNEL);
	if (!buf)
		return NULL;
	file = filp_open("/proc/cmdline", O_RDONLY, 0);
	if (IS_ERR(file)) {
		kfree(buf);
		return NULL;
	}
	n = kernel_read(file, buf, COMMAND_LINE_SIZE, &pos);
	filp_close(file, NULL);
	if (n > 0 && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return buf;
}

static size_t fadump_cmdline_len(void)
{
	char *line = fadump_read_cmdline();
	size_t len = line ? strlen(line) : 0;

	kfree(line);
	return len;
}

/**
 * fadump_cmdline_has - was the kernel given that parameter?
 * @param: how its word begins
 *
 * Return: true if some word of the command line begins like this.
 */
bool fadump_cmdline_has(const char *param)
{
	char *line = fadump_read_cmdline();
	bool found = false;
	char *at;

	for (at = line; at && !found; at++) {
		at = strstr(at, param);
		if (!at)
			break;
		found = at == line || at[-1] == ' ';
	}
	kfree(line);
	return found;
}

static ssize_t bootargs_append_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	struct fadump *fd = &fadump;
	ssize_t ret = count;
	size_t len = count;

	if (!fd->enabled || fadump_dump_active())
		return -EPERM;
	if (count >= COMMAND_LINE_SIZE)
		return -EINVAL;
	if (fadump_cmdline_len() + count >= COMMAND_LINE_SIZE) {
		pr_err("Appending parameters exceeds cmdline size!\n");
		return -ENOSPC;
	}
	if (len && buf[len - 1] == '\n')
		len--;

	mutex_lock(&fd->lock);
	if (fadump_dump_active()) {
		ret = -EPERM;
	} else {
		/* The device reads the page at the crash, with no registration. */
		memset(fd->param, 0, PAGE_SIZE);
		memcpy(fd->param, buf, len);
	}
	mutex_unlock(&fd->lock);
	return ret;
}

/* Two numbers and nothing else. */
static int fadump_parse_range(const char *buf, size_t count, u64 *addr,
			      u64 *len)
{
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
	if (!*len || !IS_ALIGNED(*addr | *len, PAGE_SIZE) ||
	    *addr + *len < *addr)
		return -EINVAL;
	return 0;
}

static ssize_t discard_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	struct fadump *fd = &fadump;
	u64 addr, len;
	int ret;

	ret = fadump_parse_range(buf, count, &addr, &len);
	if (ret)
		return ret;

	mutex_lock(&fd->lock);
	ret = fd->dump == FADUMP_DUMP_ACTIVE ?
	      fadump_device_discard(fd, addr, len) : -ENOENT;
	mutex_unlock(&fd->lock);
	return ret < 0 ? ret : count;
}

static struct kobj_attribute discard_attr = __ATTR(discard, 0200, NULL,
						   discard_store);

static ssize_t release_mem_store(struct kobject *kobj,
				 struct kobj_attribute *attr,
				 const char *buf, size_t count)
{
	struct fadump *fd = &fadump;
	int input, ret;

	if (!fadump_dump_active())
		return -EPERM;
	if (kstrtoint(buf, 0, &input) || input != 1)
		return -EINVAL;

	/*
	 * The file goes away with the dump, from inside of this call, so that
	 * removing the directory no longer waits for us. Stay loaded until then.
	 */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;

	mutex_lock(&fd->lock);
	ret = fadump_dump_active() ? fadump_release(fd) : -EPERM;
	mutex_unlock(&fd->lock);

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
static struct kobj_attribute bootargs_append_attr = __ATTR_RW(bootargs_append);
static struct kobj_attribute release_mem_attr = __ATTR_WO(release_mem);

static struct attribute *fadump_attrs[] = {
	&enabled_attr.attr,
	&registered_attr.attr,
	&mem_reserved_attr.attr,
	&hotplug_ready_attr.attr,
	&bootargs_append_attr.attr,
	NULL,
};

static const struct attribute_group fadump_group = {
	.attrs = fadump_attrs,
};

static void fadump_show_dump(struct seq_file *m, u64 src, u64 dst, u64 len,
			     u64 held)
{
	seq_printf(m, "DUMP: Src: %#016llx, Dest: %#016llx, Size: %#llx, Dumped: %#llx bytes\n",
		   src, dst, len, held);
}

/* The line format is powerpc's; debugfs has no powerpc directory here. */
static int fadump_region_show(struct seq_file *m, void *private)
{
	struct fadump *fd = &fadump;
	const struct fadump_desc_info *d = &fd->desc;
	u64 cpu_dst = 0, cpu_len = 0;
	struct fadump_piece piece;
	bool withheld = false;
	u64 param;
	u32 i;

	if (!fd->enabled)
		return 0;

	mutex_lock(&fd->lock);

	if (fd->dump == FADUMP_DUMP_ACTIVE) {
		cpu_dst = fd->shm.addr + d->notes_off;
		cpu_len = d->notes_size;
	}
	seq_printf(m, "CPU :[%#016llx-%#016llx] %#llx bytes, Dumped: %#llx\n",
		   cpu_dst, cpu_len ? cpu_dst + cpu_len - 1 : cpu_dst, cpu_len,
		   cpu_len);

	if (fd->dump == FADUMP_DUMP_ACTIVE) {
		for (i = 0; i < d->nr_ranges; i++) {
			struct fadump_range r;

			fadump_desc_range(d, i, &r);
			if (r.where == VIRTIO_FADUMP_WHERE_IN_PLACE) {
				withheld = true;
				continue;
			}
			if (r.where == VIRTIO_FADUMP_WHERE_SHM)
				r.dest += fd->shm.addr;
			fadump_show_dump(m, r.addr, r.dest, r.len, r.held);
		}
	} else if (fadump_dest_piece(0, &piece)) {
		for (i = 0; fadump_dest_piece(i, &piece); i++)
			fadump_show_dump(m, piece.src, piece.dst, piece.len, 0);
	} else {
		fadump_show_dump(m, 0, VIRTIO_FADUMP_DST_HOST,
				 fd->boot_mem_size, 0);
	}

	param = virt_to_phys(fd->param);
	seq_printf(m, "\n[%#016llx-%#016llx]: cmdline append: '%s'\n",
		   param, param + PAGE_SIZE - 1, fd->param);

	if (withheld)
		seq_printf(m, "\nMemory above %#016llx is reserved for saving crash dump\n",
			   d->boot_mem_size);

	mutex_unlock(&fd->lock);
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

int fadump_sysfs_init(struct fadump *fd)
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

	if (fadump_dump_active()) {
		ret = sysfs_create_file(fadump_kobj, &release_mem_attr.attr);
		if (ret)
			pr_err("unable to create release_mem sysfs file (%d)\n",
			       ret);
		else
			fadump_link("release_mem", "fadump_release_mem");
	}
	if (READ_ONCE(fd->dump) == FADUMP_DUMP_ACTIVE &&
	    virtio_has_feature(fd->vdev, VIRTIO_FADUMP_F_DISCARD)) {
		ret = sysfs_create_file(fadump_kobj, &discard_attr.attr);
		if (ret)
			pr_err("unable to create discard sysfs file (%d)\n",
			       ret);
	}

	fadump_debugfs = debugfs_create_dir("fadump", NULL);
	debugfs_create_file("fadump_region", 0444, fadump_debugfs, NULL,
			    &fadump_region_fops);
	debugfs_create_symlink("region", fadump_debugfs, "fadump_region");
	return 0;
}

/*
 * The host released the dump, so there is nothing to write to any more. Waits
 * for whoever is writing: not under the lock.
 */
void fadump_sysfs_released(void)
{
	sysfs_remove_file(fadump_kobj, &discard_attr.attr);
	sysfs_remove_link(kernel_kobj, "fadump_release_mem");
	sysfs_remove_file(fadump_kobj, &release_mem_attr.attr);
}

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
