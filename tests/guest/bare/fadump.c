// SPDX-License-Identifier: GPL-2.0-or-later
/* Driving the device: configuration space and control queue */
#include <linux/virtio_fadump.h>

#include "bare.h"
#include "fadump.h"

#define CONFIG(field) \
	(dev.config + offsetof(struct virtio_fadump_config, field))

struct crashed crashed __attribute__((aligned(4096)));

/* as Linux' struct elf_prstatus */
static struct {
	uint32_t namesz;
	uint32_t descsz;
	uint32_t type;
	char name[8];
	uint8_t prstatus[PRSTATUS_SIZE] __attribute__((aligned(4)));
} crash_note __attribute__((aligned(16)));

static struct virtio dev;
static struct queue ctrl;
static struct span window;
static uint8_t answer[4096];

bool fadump_init(u64 wanted)
{
	if (!virtio_find(&dev, VIRTIO_ID_FADUMP))
		return false;
	virtio_start(&dev, wanted);
	virtio_queue(&dev, &ctrl, VIRTIO_FADUMP_VQ_CTRL);
	virtio_ready(&dev);
	window.addr = read64(CONFIG(window_addr));
	window.len = read64(CONFIG(window_len));
	if (!window.addr)
		window = dev.shm;
	else if (dev.shm.addr)
		die("the window is at two places");
	if (!window.addr || window.addr % VIRTIO_FADUMP_ALIGN)
		die("the window is at %llx", window.addr);
	mem_map(window.addr, window.len);
	return true;
}

u64 fadump_features(void)
{
	return dev.features;
}

uint32_t fadump_state(void)
{
	return read32(CONFIG(state));
}

u64 fadump_desc_size(void)
{
	return read64(CONFIG(desc_size));
}

u64 fadump_trigger_address(void)
{
	return CONFIG(trigger);
}

u64 fadump_window(void)
{
	return window.addr;
}

/* The answer, header and all */
static void *request(struct virtio_fadump_req *req, unsigned int type,
		     unsigned int size)
{
	struct virtio_fadump_resp *resp = (void *)answer;
	struct part parts[] = {
		{ req, size, false },
		{ answer, sizeof(answer), true },
	};

	req->type = type;
	req->size = size;
	resp->status = ~0U;
	virtio_submit(&ctrl, parts, 2);
	while (virtio_used(&ctrl) < 0)
		;
	asm volatile("" : : : "memory");
	if (resp->status != VIRTIO_FADUMP_S_OK)
		die("request %u: status %u detail %llx", type, resp->status,
		    (u64)resp->detail);
	return answer;
}

void fadump_request(unsigned int type)
{
	static struct virtio_fadump_req req;

	request(&req, type, sizeof(req));
}

void fadump_discard(u64 addr, u64 len)
{
	static struct virtio_fadump_discard req;

	req.addr = addr;
	req.len = len;
	request(&req.hdr, VIRTIO_FADUMP_REQ_DISCARD, sizeof(req));
}

static const struct virtio_fadump_boot_mem *get_boot_mem(u64 size)
{
	static struct virtio_fadump_get_boot_mem req;

	req.size = size;
	return request(&req.hdr, VIRTIO_FADUMP_REQ_GET_BOOT_MEM, sizeof(req));
}

/* Take RAM that lies in a huge page as src does off what is left of it. */
static u64 take_destination(struct map *left, u64 src, u64 len)
{
	uint32_t i;

	for (i = 0; i < left->nr; i++) {
		u64 a = left->spans[i].addr, e = a + left->spans[i].len;

		a += (src - a) & (2 * MIB - 1);
		if (a < e && e - a >= len) {
			map_remove(left, a, a + len);
			return a;
		}
	}
	die("no room for %llu bytes", len);
}

static struct virtio_fadump_region *add_boot_mem(struct virtio_fadump_region *r,
						 u64 src, u64 len, u64 dst)
{
	r->type = VIRTIO_FADUMP_REGION_BOOT_MEM;
	r->src = src;
	r->len = len;
	r->dst = dst;
	return r + 1;
}

static struct virtio_fadump_region *add_note(struct virtio_fadump_region *r,
					     unsigned int type, void *note,
					     u64 len)
{
	r->type = type;
	r->src = (uintptr_t)note;
	r->len = len;
	return r + 1;
}

void fadump_register(const char *destination, u64 boot_mem)
{
	static struct {
		struct virtio_fadump_register head;
		struct virtio_fadump_region regions[32];
	} req;
	const struct virtio_fadump_boot_mem *boot = get_boot_mem(boot_mem);
	bool guest = strcmp(destination, "host");
	bool mixed = !strcmp(destination, "mixed");
	struct virtio_fadump_region *r = req.regions;
	struct map left = ram;
	u64 sum = 0;
	uint32_t i;

	if (boot->nr_ranges > 8)
		die("boot memory has %u ranges", boot->nr_ranges);
	for (i = 0; i < boot->nr_ranges; i++)
		map_remove(&left, boot->ranges[i].addr,
			   boot->ranges[i].addr + boot->ranges[i].len);
	memset(&req, 0, sizeof(req));
	r->type = VIRTIO_FADUMP_REGION_CPU_STATE;
	r++;
	for (i = 0; i < boot->nr_ranges; i++) {
		u64 src = boot->ranges[i].addr, len = boot->ranges[i].len;
		u64 half = len / 2 & -(u64)VIRTIO_FADUMP_ALIGN;

		sum += len;
		if (mixed && half) {
			r = add_boot_mem(r, src, half, VIRTIO_FADUMP_DST_HOST);
			src += half;
			len -= half;
		}
		r = add_boot_mem(r, src, len, guest ?
				 take_destination(&left, src, len) :
				 VIRTIO_FADUMP_DST_HOST);
	}
	r = add_note(r, VIRTIO_FADUMP_REGION_VMCOREINFO, &crashed,
		     sizeof(crashed));
	r = add_note(r, VIRTIO_FADUMP_REGION_CRASH_NOTE, &crash_note,
		     sizeof(crash_note));
	req.head.nr_regions = r - req.regions;
	req.head.boot_mem = boot->size;
	say("boot_mem granted=%llu sum=%llu ranges=%u", (u64)boot->size, sum,
	    boot->nr_ranges);
	request(&req.head.hdr, VIRTIO_FADUMP_REQ_REGISTER,
		(char *)r - (char *)&req);
	if (fadump_state() != VIRTIO_FADUMP_STATE_REGISTERED ||
	    read64(CONFIG(boot_mem)) != sum)
		die("registered, but state is %u, boot memory %llu",
		    fadump_state(), read64(CONFIG(boot_mem)));
}

void fadump_crash_note(const u64 *regs)
{
	crash_note.namesz = sizeof("CORE");
	crash_note.descsz = PRSTATUS_SIZE;
	crash_note.type = 1;
	memcpy(crash_note.name, "CORE", sizeof("CORE"));
	memcpy(crash_note.prstatus + PRSTATUS_REGS, regs, 16 * 8);
}

void fadump_wait_event(void)
{
	while (!(read8(dev.isr) & 2))
		;
	say("event state=%u", fadump_state());
}
