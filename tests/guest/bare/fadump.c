// SPDX-License-Identifier: GPL-2.0-or-later
/* Driving the device: configuration space and control queue */
#include <linux/virtio_fadump.h>

#include "bare.h"
#include "fadump.h"

#define CONFIG(field) \
	(dev.config + offsetof(struct virtio_fadump_config, field))

struct crashed crashed __attribute__((aligned(4096)));

static struct virtio dev;
static struct queue ctrl, events;
static struct virtio_fadump_event event;
static uint8_t answer[64 * 1024 + sizeof(struct virtio_fadump_resp)];

bool fadump_init(u64 wanted)
{
	struct part part = { &event, sizeof(event), true };

	if (!virtio_find(&dev, VIRTIO_ID_FADUMP))
		return false;
	virtio_start(&dev, wanted);
	virtio_queue(&dev, &ctrl, VIRTIO_FADUMP_VQ_CTRL);
	if (dev.features & 1 << VIRTIO_FADUMP_F_EVENTS)
		virtio_queue(&dev, &events, VIRTIO_FADUMP_VQ_EVENT);
	virtio_ready(&dev);
	if (dev.features & 1 << VIRTIO_FADUMP_F_EVENTS)
		virtio_submit(&events, &part, 1);
	if (read32(CONFIG(version)) != VIRTIO_FADUMP_VERSION)
		die("version %u", read32(CONFIG(version)));
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

u64 fadump_shm(void)
{
	return dev.shm.addr;
}

static void request(struct virtio_fadump_req *req, unsigned int type,
		    unsigned int size, unsigned int room)
{
	struct virtio_fadump_resp *resp = (void *)answer;
	struct part parts[] = {
		{ req, size, false },
		{ answer, sizeof(*resp) + room, true },
	};

	req->version = VIRTIO_FADUMP_VERSION;
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
}

void fadump_request(unsigned int type)
{
	static struct virtio_fadump_req req;

	request(&req, type, sizeof(req), 0);
}

void fadump_get_descriptor(void *to, u64 size)
{
	static struct virtio_fadump_req req;

	request(&req, VIRTIO_FADUMP_REQ_GET_DESCRIPTOR, sizeof(req),
		sizeof(answer) - sizeof(struct virtio_fadump_resp));
	if (((struct virtio_fadump_resp *)answer)->size != size)
		die("the descriptor's size is not desc_size");
	memcpy(to, answer + sizeof(struct virtio_fadump_resp), size);
}

void fadump_discard(u64 addr, u64 len)
{
	static struct virtio_fadump_discard req;

	req.addr = addr;
	req.len = len;
	request(&req.hdr, VIRTIO_FADUMP_REQ_DISCARD, sizeof(req), 0);
}

/* RAM above boot memory that may take it */
static u64 find_destination(u64 size)
{
	uint32_t i;

	for (i = 0; i < ram.nr; i++) {
		u64 a = ram.spans[i].addr, e = a + ram.spans[i].len;

		if (a < size)
			a = size;
		a = (a + 2 * MIB - 1) & -(2 * MIB);
		if (a < e && e - a >= size)
			return a;
	}
	die("no room for %llu bytes", size);
}

void fadump_register(const char *destination)
{
	static struct {
		struct virtio_fadump_register head;
		struct virtio_fadump_region regions[4];
	} req;
	struct virtio_fadump_region *r = req.regions;
	u64 size = read64(CONFIG(boot_mem_size)), half = size;
	u64 to = VIRTIO_FADUMP_DST_HOST;

	if (strcmp(destination, "host"))
		to = find_destination(size);
	if (!strcmp(destination, "mixed"))
		half = size / 2;
	r->type = VIRTIO_FADUMP_REGION_CPU_STATE;
	r++;
	r->type = VIRTIO_FADUMP_REGION_BOOT_MEM;
	r->len = half;
	r->dst = to;
	r++;
	if (half != size) {
		r->type = VIRTIO_FADUMP_REGION_BOOT_MEM;
		r->src = half;
		r->len = size - half;
		r->dst = VIRTIO_FADUMP_DST_HOST;
		r++;
	}
	r->type = VIRTIO_FADUMP_REGION_PARAM;
	r->src = (uintptr_t)&crashed;
	r->len = sizeof(crashed);
	r++;
	req.head.nr_regions = r - req.regions;
	request(&req.head.hdr, VIRTIO_FADUMP_REQ_REGISTER,
		(char *)r - (char *)&req, 0);
	if (fadump_state() != VIRTIO_FADUMP_STATE_REGISTERED)
		die("registered, but the state is %u", fadump_state());
}

void fadump_wait_event(void)
{
	while (virtio_used(&events) < 0)
		;
	say("event type=%u state=%u", event.type, event.state);
}
