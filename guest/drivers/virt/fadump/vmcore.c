// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /proc/vmcore, for a kernel that is no kdump kernel.
 *
 * The kernel's own has made up its mind long before a module is loaded, and
 * telling it about a dump would make is_kdump_kernel() true for the rest of
 * this production boot. So the file is made here: an ELF header built from the
 * dump descriptor, then the memory, all of it mapped once.
 *
 * Memory that is shown here becomes ordinary memory of this kernel when the
 * dump is released, so no mapping in any process may outlive the file.
 */
#define pr_fmt(fmt) "fadump: " fmt

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "compat.h"
#include "fadump.h"

/* Most that is copied without looking at signals and the scheduler. */
#define FADUMP_COPY_CHUNK	((size_t)4 << 20)

/* A process that has or had the file mapped. */
struct fadump_vmcore_mm {
	struct list_head node;
	struct mm_struct *mm;
};

/* An open file. */
struct fadump_vmcore_file {
	struct list_head node;
	/* each mount of procfs has an inode of its own */
	struct address_space *mapping;
	struct list_head mms;
};

struct fadump_vmcore {
	/* in alloc_pages_exact() memory, so that it can be mapped */
	void *hdr;
	struct fadump_elf_layout layout;
	/* layout.nr_segs of them, ascending by offset, no gaps */
	struct fadump_seg *segs;
	/* where each is mapped, while the file is there */
	void **maps;

	struct proc_dir_entry *pde;
	/* files, hidden; taken inside of mmap_lock */
	struct mutex lock;
	struct list_head files;
	/* no new mappings, and no more reading */
	bool hidden;
};

/* NULL if there is none; under fadump.lock, or while the file is there */
static struct fadump_vmcore *fadump_vmcore;

/* Index of the segment that has file offset @pos, which lies behind the header. */
static u32 fadump_vmcore_find(const struct fadump_vmcore *vc, u64 pos)
{
	u32 lo = 0, hi = vc->layout.nr_segs - 1;

	while (lo < hi) {
		u32 mid = hi - (hi - lo) / 2;

		if (vc->segs[mid].offset <= pos)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

static phys_addr_t fadump_seg_phys(const struct fadump_vmcore *vc, u32 i)
{
	const struct fadump_seg *s = &vc->segs[i];

	return s->window ? fadump.dev->window.addr + s->src : s->src;
}

/* Where the content of file offset @pos is mapped, and how much is there. */
static const void *fadump_vmcore_at(const struct fadump_vmcore *vc, u64 pos,
				    u64 *avail)
{
	u64 off;
	u32 i;

	if (pos < vc->layout.hdr_size) {
		*avail = vc->layout.hdr_size - pos;
		return vc->hdr + pos;
	}
	i = fadump_vmcore_find(vc, pos);
	off = pos - vc->segs[i].offset;
	*avail = vc->segs[i].size - off;
	return vc->maps[i] + off;
}

/* The same as an address. */
static phys_addr_t fadump_vmcore_phys(const struct fadump_vmcore *vc, u64 pos,
				      u64 *avail)
{
	u64 off;
	u32 i;

	if (pos < vc->layout.hdr_size) {
		*avail = vc->layout.hdr_size - pos;
		return virt_to_phys(vc->hdr) + pos;
	}
	i = fadump_vmcore_find(vc, pos);
	off = pos - vc->segs[i].offset;
	*avail = vc->segs[i].size - off;
	return fadump_seg_phys(vc, i) + off;
}

static ssize_t fadump_vmcore_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		u64 pos = iocb->ki_pos;
		const void *src;
		size_t want, n;
		u64 avail;

		if (iocb->ki_pos < 0 || pos >= vc->layout.file_size)
			break;
		if (fatal_signal_pending(current)) {
			if (!done)
				done = -EINTR;
			break;
		}
		/* Whoever takes the file away waits for us. */
		if (READ_ONCE(vc->hidden)) {
			if (!done)
				done = -EIO;
			break;
		}

		src = fadump_vmcore_at(vc, pos, &avail);
		want = min_t(u64, avail, min(iov_iter_count(to),
					     FADUMP_COPY_CHUNK));
		n = copy_to_iter(src, want, to);
		iocb->ki_pos += n;
		done += n;
		if (n < want) {
			if (!done)
				done = -EFAULT;
			break;
		}
		cond_resched();
	}
	return done;
}

static int fadump_vmcore_track_mm(struct fadump_vmcore *vc,
				  struct fadump_vmcore_file *vf,
				  struct mm_struct *mm)
{
	struct fadump_vmcore_mm *m;
	int ret = 0;

	mutex_lock(&vc->lock);
	if (vc->hidden) {
		ret = -ENODEV;
		goto out;
	}
	list_for_each_entry(m, &vf->mms, node)
		if (m->mm == mm)
			goto out;

	m = kmalloc(sizeof(*m), GFP_KERNEL);
	if (!m) {
		ret = -ENOMEM;
		goto out;
	}
	mmgrab(mm);
	m->mm = mm;
	list_add(&m->node, &vf->mms);
out:
	mutex_unlock(&vc->lock);
	return ret;
}

static void fadump_vmcore_drop_mms(struct list_head *mms)
{
	struct fadump_vmcore_mm *m, *next;

	list_for_each_entry_safe(m, next, mms, node) {
		list_del(&m->node);
		mmdrop(m->mm);
		kfree(m);
	}
}

static int fadump_vmcore_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	u64 pos = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 size = vma->vm_end - vma->vm_start;
	unsigned long addr = vma->vm_start;
	int ret;

	if (pos > vc->layout.file_size || size > vc->layout.file_size - pos)
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;

	/* No mprotect() later; and no private copies. */
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);

	ret = fadump_vmcore_track_mm(vc, file->private_data, vma->vm_mm);
	if (ret)
		return ret;

	while (size) {
		phys_addr_t phys;
		u64 n;

		phys = fadump_vmcore_phys(vc, pos, &n);
		n = min(n, size);

		ret = remap_pfn_range(vma, addr, PHYS_PFN(phys), n,
				      vma->vm_page_prot);
		if (ret)
			return ret;
		pos += n;
		addr += n;
		size -= n;
	}
	return 0;
}

/*
 * A kdump kernel runs nothing but the saving of its dump; this one runs all that
 * the machine is for. So it takes what reading /proc/kcore takes.
 */
static int fadump_vmcore_open(struct inode *inode, struct file *file)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	struct fadump_vmcore_file *vf;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	ret = security_locked_down(LOCKDOWN_KCORE);
	if (ret)
		return ret;

	vf = kmalloc(sizeof(*vf), GFP_KERNEL);
	if (!vf)
		return -ENOMEM;
	vf->mapping = file->f_mapping;
	INIT_LIST_HEAD(&vf->mms);
	file->private_data = vf;

	mutex_lock(&vc->lock);
	list_add(&vf->node, &vc->files);
	mutex_unlock(&vc->lock);
	fadump_saved_opened();
	return 0;
}

static int fadump_vmcore_release(struct inode *inode, struct file *file)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	struct fadump_vmcore_file *vf = file->private_data;

	mutex_lock(&vc->lock);
	list_del(&vf->node);
	mutex_unlock(&vc->lock);

	fadump_vmcore_drop_mms(&vf->mms);
	kfree(vf);
	return 0;
}

static const struct proc_ops fadump_vmcore_ops = {
	.proc_open	= fadump_vmcore_open,
	.proc_release	= fadump_vmcore_release,
	.proc_read_iter	= fadump_vmcore_read_iter,
	.proc_lseek	= default_llseek,
	.proc_mmap	= fadump_vmcore_mmap,
};

static void fadump_vmcore_unmap(struct fadump_vmcore *vc)
{
	u32 i;

	for (i = 0; vc->maps && i < vc->layout.nr_segs; i++)
		if (vc->maps[i])
			memunmap(vc->maps[i]);
	if (vc->maps)
		memset(vc->maps, 0, vc->layout.nr_segs * sizeof(*vc->maps));
}

/*
 * Whole ranges: one mapping with large pages costs a few KiB of page tables, one
 * for each page that is read costs most of the time.
 */
static int fadump_vmcore_map(struct fadump_vmcore *vc)
{
	u32 i;

	for (i = 0; i < vc->layout.nr_segs; i++) {
		phys_addr_t phys = fadump_seg_phys(vc, i);

		vc->maps[i] = memremap(phys, vc->segs[i].size, MEMREMAP_WB);
		if (!vc->maps[i]) {
			pr_err("cannot map 0x%llx bytes at %pa\n",
			       vc->segs[i].size, &phys);
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * fadump_vmcore_show - there is the file
 *
 * Return: 0, also where there is nothing to show, or a negative errno.
 */
int fadump_vmcore_show(void)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	int ret;

	if (!vc || vc->pde)
		return 0;

	ret = fadump_vmcore_map(vc);
	if (ret)
		goto unmap;
	vc->hidden = false;
	vc->pde = proc_create("vmcore", 0400, NULL, &fadump_vmcore_ops);
	if (!vc->pde) {
		ret = -ENOMEM;
		goto unmap;
	}
	/* Userspace looks at the size to see whether there is a dump. */
	proc_set_size(vc->pde, vc->layout.file_size);
	return 0;

unmap:
	fadump_vmcore_unmap(vc);
	return ret;
}

/**
 * fadump_vmcore_hide - take the file away, and every mapping of the dump
 *
 * Nobody looks at the dump when this returns; a process that still touches its
 * mapping gets SIGBUS. The kernel's own go, too: what ACPI gives back after the
 * release may be RAM before the next line of ours runs, and a mapping of RAM
 * cannot be undone as one of memory that is nobody's.
 */
void fadump_vmcore_hide(void)
{
	struct fadump_vmcore *vc = fadump_vmcore;
	struct fadump_vmcore_file *vf;
	struct fadump_vmcore_mm *m;
	LIST_HEAD(mms);

	if (!vc || !vc->pde)
		return;

	mutex_lock(&vc->lock);
	WRITE_ONCE(vc->hidden, true);
	list_for_each_entry(vf, &vc->files, node)
		list_splice_init(&vf->mms, &mms);
	mutex_unlock(&vc->lock);

	/*
	 * A new mapping can be found through the file only some time after
	 * ->mmap() returned, but before mmap_lock is let go. So whoever was in
	 * there when the door was shut is out after this.
	 */
	list_for_each_entry(m, &mms, node) {
		mmap_read_lock(m->mm);
		mmap_read_unlock(m->mm);
	}
	fadump_vmcore_drop_mms(&mms);

	mutex_lock(&vc->lock);
	list_for_each_entry(vf, &vc->files, node)
		unmap_mapping_range(vf->mapping, 0, 0, 1);
	mutex_unlock(&vc->lock);

	/* Waits for readers, and closes what is open. */
	proc_remove(vc->pde);
	vc->pde = NULL;
	fadump_vmcore_unmap(vc);
}

/**
 * fadump_vmcore_destroy - undo fadump_vmcore_create()
 */
void fadump_vmcore_destroy(void)
{
	struct fadump_vmcore *vc = fadump_vmcore;

	if (!vc)
		return;

	fadump_vmcore_hide();
	fadump_vmcore = NULL;

	if (vc->hdr)
		free_pages_exact(vc->hdr, vc->layout.hdr_size);
	kvfree(vc->maps);
	kvfree(vc->segs);
	mutex_destroy(&vc->lock);
	kfree(vc);
}

static int fadump_vmcore_fill(struct fadump_vmcore *vc)
{
	struct fadump_why why = { "" };
	int ret;

	ret = fadump_elf_layout(&fadump.desc, PAGE_SIZE, &vc->layout, &why);
	if (ret) {
		pr_err("%s\n", why.text);
		return ret;
	}
	vc->hdr = alloc_pages_exact(vc->layout.hdr_size,
				    GFP_KERNEL | __GFP_ZERO);
	vc->segs = kvcalloc(vc->layout.nr_segs, sizeof(*vc->segs), GFP_KERNEL);
	vc->maps = kvcalloc(vc->layout.nr_segs, sizeof(*vc->maps), GFP_KERNEL);
	if (!vc->hdr || !vc->segs || !vc->maps)
		return -ENOMEM;
	fadump_elf_build(&fadump.desc, &vc->layout, vc->hdr, vc->segs);
	return 0;
}

/**
 * fadump_vmcore_create - make /proc/vmcore of fadump.desc
 *
 * Return: 0 or a negative errno.
 */
int fadump_vmcore_create(void)
{
	struct fadump_vmcore *vc;
	int ret;

	vc = kzalloc(sizeof(*vc), GFP_KERNEL);
	if (!vc)
		return -ENOMEM;
	mutex_init(&vc->lock);
	INIT_LIST_HEAD(&vc->files);
	fadump_vmcore = vc;

	ret = fadump_vmcore_fill(vc);
	if (!ret)
		ret = fadump_vmcore_show();
	if (ret)
		fadump_vmcore_destroy();
	return ret;
}
