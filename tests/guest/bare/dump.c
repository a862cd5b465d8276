// SPDX-License-Identifier: GPL-2.0-or-later
/* What the descriptor of a dump says, against what the crashed guest knew */
#include <linux/virtio_fadump.h>

#include "bare.h"
#include "fadump.h"

#define NR_REGS		27
#define REG_RIP		16

static uint8_t buf[64 * 1024] __attribute__((aligned(8)));
static uint8_t other[sizeof(buf)] __attribute__((aligned(8)));
static const struct virtio_fadump_desc *const desc = (const void *)buf;

/* The one ELF note of a part, of at least so many bytes, or NULL */
static const uint32_t *note_of(const struct virtio_fadump_part *part,
			       uint32_t len)
{
	const uint32_t *note = (const void *)(buf + part->off);

	if (!part->size)
		return NULL;
	if (part->off % 4 || part->off > desc->total_size ||
	    part->size > desc->total_size - part->off ||
	    part->size != 12 + ((note[0] + 3ULL) & ~3ULL) +
			  ((note[1] + 3ULL) & ~3ULL) || note[1] < len)
		die("note at %llx, %llu bytes", (u64)part->off,
		    (u64)part->size);
	return note;
}

static const struct virtio_fadump_range *range(unsigned int i)
{
	return (const void *)(buf + desc->ranges_off + i * desc->range_size);
}

static void check_desc(u64 size)
{
	uint32_t i, crc, zero = 0;
	u64 end = 0;

	if (size < sizeof(*desc) || memcmp(desc->magic, VIRTIO_FADUMP_DESC_MAGIC, 8) ||
	    desc->version != VIRTIO_FADUMP_DESC_VERSION || desc->total_size != size)
		die("this is no descriptor");
	crc = crc32(buf, offsetof(struct virtio_fadump_desc, checksum), 0);
	crc = crc32(&zero, 4, crc);
	crc = crc32(&desc->flags,
		    size - offsetof(struct virtio_fadump_desc, flags), crc);
	if (crc != desc->checksum)
		die("checksum %x is not %x", desc->checksum, crc);
	for (i = 0; i < desc->nr_ranges; i++) {
		if (range(i)->addr < end || !range(i)->len)
			die("range %u is out of order", i);
		end = range(i)->addr + range(i)->len;
	}
}

void dump_read(void)
{
	u64 size = fadump_desc_size();
	const struct crashed *from;

	if (size > sizeof(buf))
		die("the descriptor has %llu bytes", size);
	memcpy(buf, (const void *)fadump_window(), size);
	check_desc(size);
	if (fw_cfg_read(FW_CFG_DESC, other, sizeof(other)) < size ||
	    memcmp(buf, other, size))
		die("the descriptors of fw_cfg and window differ");

	from = (const void *)note_of(&desc->vmcoreinfo, 0);
	if (!from || desc->vmcoreinfo.size != sizeof(crashed) ||
	    from->magic != CRASHED_MAGIC)
		die("VMCOREINFO is not what was registered");
	memcpy(&crashed, from, sizeof(crashed));
	say("desc size=%llu cause=%u cpu=%u ranges=%u vcpus=%u boot_mem=%llu capture_ns=%llu generation=%u",
	    size, desc->cause, desc->crash_cpu, desc->nr_ranges, desc->nr_vcpus,
	    (u64)desc->boot_mem, (u64)desc->capture_ns, crashed.generation);
}

/* Firmware must say of boot memory only that it is RAM. */
void dump_check_map(void)
{
	struct map rest = ram;
	uint32_t i;

	for (i = 0; i < desc->nr_ranges; i++)
		if (range(i)->flags & VIRTIO_FADUMP_RANGE_F_BOOT_MEM)
			map_remove(&rest, range(i)->addr,
				   range(i)->addr + range(i)->len);
	say("map ram=%llu beyond=%llu first=%llx", map_size(&ram),
	    map_size(&rest), rest.nr ? rest.spans[0].addr : 0);
}

void dump_check_regs(void)
{
	/* of elf_gregset_t, by x86's numbers */
	static const uint8_t place[16] = { 10, 11, 12, 5, 19, 4, 13, 14,
					   9, 8, 7, 6, 3, 2, 1, 0 };
	const struct virtio_fadump_vcpu *vcpu = (const void *)(buf + desc->vcpus_off);
	const uint32_t *note = note_of(&vcpu->notes,
				       PRSTATUS_REGS + NR_REGS * 8);
	const uint32_t *told = note_of(&desc->crash_note, PRSTATUS_SIZE);
	const u64 *regs;
	unsigned int i, wrong = 0;

	if (!note || note[0] != 5 || note[2] != 1)
		die("the first note is no NT_PRSTATUS");
	regs = (const void *)((const uint8_t *)(note + 5) + PRSTATUS_REGS);
	if (!told != (desc->cause != VIRTIO_FADUMP_CAUSE_PANIC) ||
	    (told && memcmp((const uint8_t *)(told + 5) + PRSTATUS_REGS,
			    crashed.regs, sizeof(crashed.regs))))
		wrong |= 1 << 17;
	if (vcpu->flags & VIRTIO_FADUMP_VCPU_F_REGS_LOST) {
		say("regs lost=1 wrong=%x", wrong);
		return;
	}
	for (i = 0; i < 16; i++)
		if (i != 4 && regs[place[i]] != crashed.regs[i])
			wrong |= 1 << i;
	if (regs[REG_RIP] - crashed.rip.addr >= crashed.rip.len)
		wrong |= 1 << 16;
	say("regs lost=0 wrong=%x rip=%llx", wrong, regs[REG_RIP]);
}

/* Where the content of a range now lies, 0 if nowhere */
static u64 place_of(const struct virtio_fadump_range *r)
{
	if (!r->held)
		return 0;
	switch (r->where) {
	case VIRTIO_FADUMP_WHERE_IN_PLACE:
		mem_map(r->addr, r->len);
		return r->addr;
	case VIRTIO_FADUMP_WHERE_GUEST:
		mem_map(r->dest, r->len);
		return r->dest;
	case VIRTIO_FADUMP_WHERE_WINDOW:
		return fadump_window() + r->dest;
	}
	die("where is %u", r->where);
}

/* The same of a crashed guest's address, with the bytes from there on */
static u64 place_of_addr(u64 addr, u64 len)
{
	const struct virtio_fadump_range *r;
	uint32_t i;

	for (i = 0; i < desc->nr_ranges; i++) {
		r = range(i);
		if (addr - r->addr < r->len && addr + len <= r->addr + r->held)
			return place_of(r) + (addr - r->addr);
	}
	die("nothing is held of %llx", addr);
}

static void verify_range(const struct virtio_fadump_range *r)
{
	static const char *const wheres[] = { "none", "place", "guest", "window" };
	u64 pages = 0, wrong = 0, first = 0, from = place_of(r);
	u64 end = r->addr + (from ? r->held : 0);
	uint32_t i;

	for (i = 0; i < crashed.filled.nr; i++) {
		u64 a = crashed.filled.spans[i].addr;
		u64 e = a + crashed.filled.spans[i].len, w, f = 0;

		a = a > r->addr ? a : r->addr;
		e = e < end ? e : end;
		if (a >= e)
			continue;
		pages += (e - a) / PAGE_SIZE;
		w = mem_wrong(a, e - a, from + (a - r->addr), crashed.seed,
			      crashed.stride, &f);
		if (w && !wrong)
			first = f;
		wrong += w;
	}
	say("range addr=%llx len=%llx held=%llx where=%s method=%u flags=%x pages=%llu wrong=%llu first=%llx",
	    (u64)r->addr, (u64)r->len, (u64)r->held,
	    wheres[from ? r->where : 0], r->method, r->flags, pages, wrong,
	    first);
}

void dump_verify(void)
{
	u64 len = constant_end - image_start;
	u64 missing;
	struct map rest = crashed.filled;
	uint32_t i;

	for (i = 0; i < desc->nr_ranges; i++) {
		verify_range(range(i));
		map_remove(&rest, range(i)->addr, range(i)->addr + range(i)->len);
	}
	missing = map_size(&rest);
	/* this guest was that one */
	say("image wrong=%u missing=%llu",
	    crashed.image.addr != (uintptr_t)image_start ||
	    memcmp(image_start, (void *)place_of_addr((uintptr_t)image_start, len),
		   len) != 0, missing);
}

void dump_check_code(void)
{
	const uint8_t *code = (const void *)place_of_addr(CODE_ADDR, PAGE_SIZE);
	uint32_t value;

	memcpy(&value, code + 1, 4);
	say("code held=%x was=%x", value, crashed.code);
}

void dump_check_io(void)
{
	u64 from = place_of_addr(IO_ADDR, IO_LEN), page, at;
	unsigned int old = 0, new = 0, bad = 0;

	for (page = 0; page < IO_LEN; page += PAGE_SIZE) {
		bool is_old = true, is_new = true;

		for (at = page; at < page + PAGE_SIZE; at += 8) {
			u64 v = *(u64 *)(from + at);

			is_old &= v == pattern(IO_ADDR + at, crashed.seed);
			is_new &= v == blk_content(at);
		}
		old += is_old;
		new += is_new;
		bad += !is_old && !is_new;
	}
	say("io old=%u new=%u bad=%u", old, new, bad);
}

/* Give some of it back, and read what is then there. */
void dump_discard(void)
{
	const struct virtio_fadump_range *r = NULL;
	u64 addr, len = 4 * MIB, at, from, left = 0, beyond, first;
	uint32_t i;

	for (i = 0; i < desc->nr_ranges; i++)
		if (range(i)->where == VIRTIO_FADUMP_WHERE_WINDOW &&
		    range(i)->len > 40 * MIB)
			r = range(i);
	if (!r)
		die("no range to discard of");
	addr = r->addr + 32 * MIB;
	from = place_of_addr(addr, 2 * len);
	fadump_discard(addr, len);
	for (at = 0; at < len; at += PAGE_SIZE)
		left += *(volatile u64 *)(from + at) != 0;
	beyond = mem_wrong(addr + len, len, from + len, crashed.seed,
			   crashed.stride, &first);
	say("discard left=%llu beyond=%llu", left, beyond);
}
