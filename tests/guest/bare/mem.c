// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory: what firmware says of it, page tables, and what each page holds */
#include "bare.h"

#define PTE_TABLE	3
#define PTE_2M		0x83
#define SIZE_2M		(2 * MIB)

/* multiboot's memory map, and where its information says that it is */
#define MULTIBOOT_MMAP_LENGTH	44
#define MULTIBOOT_MMAP_ADDR	48

struct mmap_entry {
	uint32_t size;
	u64 addr;
	u64 len;
	uint32_t type;
} __attribute__((packed));

struct map ram, usable;

static u64 tables[160][512] __attribute__((aligned(4096)));
static unsigned int nr_tables;

static u64 *next_table(u64 *entry)
{
	if (!*entry) {
		if (nr_tables == ARRAY_SIZE(tables))
			die("no page table left");
		*entry = (uintptr_t)tables[nr_tables++] | PTE_TABLE;
	}
	return (u64 *)(uintptr_t)(*entry & ~0xfffULL);
}

void mem_map(u64 addr, u64 len)
{
	u64 end = addr + len;

	/* start.S has mapped the first 4 GiB */
	if (addr < 4096 * MIB)
		addr = 4096 * MIB;
	for (addr &= ~(SIZE_2M - 1); addr < end; addr += SIZE_2M) {
		u64 *pdpt = next_table(&pml4[addr >> 39 & 511]);
		u64 *pd = next_table(&pdpt[addr >> 30 & 511]);

		pd[addr >> 21 & 511] = addr | PTE_2M;
	}
}

void map_add(struct map *m, u64 addr, u64 end)
{
	if (end <= addr)
		return;
	if (m->nr == MAX_SPANS)
		die("too many areas of memory");
	m->spans[m->nr].addr = addr;
	m->spans[m->nr].len = end - addr;
	m->nr++;
}

void map_remove(struct map *m, u64 addr, u64 end)
{
	struct map old = *m;
	uint32_t i;

	m->nr = 0;
	for (i = 0; i < old.nr; i++) {
		u64 a = old.spans[i].addr, e = a + old.spans[i].len;

		map_add(m, a, e < addr ? e : addr);
		map_add(m, a > end ? a : end, e);
	}
}

/* Before anything is written outside of the image: the loader's tables are. */
void mem_init(u64 info)
{
	u64 at = *(uint32_t *)(info + MULTIBOOT_MMAP_ADDR);
	u64 end = at + *(uint32_t *)(info + MULTIBOOT_MMAP_LENGTH);
	uint32_t i;

	while (at < end) {
		const struct mmap_entry *e = (const void *)at;

		if (e->type == 1)
			map_add(&ram, (e->addr + PAGE_SIZE - 1) & -PAGE_SIZE,
				(e->addr + e->len) & -PAGE_SIZE);
		at += e->size + 4;
	}
	for (i = 0; i < ram.nr; i++)
		mem_map(ram.spans[i].addr, ram.spans[i].len);
	usable = ram;
	map_remove(&usable, 0, (uintptr_t)image_end);
	map_remove(&usable, CODE_ADDR, CODE_ADDR + 2 * PAGE_SIZE);
	map_remove(&usable, IO_ADDR, IO_ADDR + IO_LEN);
}

u64 map_size(const struct map *m)
{
	u64 size = 0;
	uint32_t i;

	for (i = 0; i < m->nr; i++)
		size += m->spans[i].len;
	return size;
}

/* Linear, so that a loop needs few instructions: some KVM emulate each one. */
u64 pattern(u64 addr, u64 seed)
{
	return (addr ^ seed << 44) * 0x9e3779b97f4a7c15ULL;
}

void mem_fill(u64 addr, u64 len, u64 seed, u64 stride)
{
	u64 v = pattern(addr, seed), step = pattern(stride, 0);
	u64 end = addr + len;

	for (; addr < end; addr += stride, v += step)
		*(volatile u64 *)addr = v;
}

u64 mem_wrong(u64 addr, u64 len, u64 where, u64 seed, u64 stride, u64 *first)
{
	u64 v = pattern(addr, seed), step = pattern(stride, 0);
	u64 at = where, end = where + len, wrong = 0;

	while (at < end) {
		if (*(volatile u64 *)at != v) {
			if (!wrong++)
				*first = at - where + addr;
			/* the page's last word */
			while ((at + stride - where) / PAGE_SIZE ==
			       (at - where) / PAGE_SIZE) {
				at += stride;
				v += step;
			}
		}
		at += stride;
		v += step;
	}
	return wrong;
}
