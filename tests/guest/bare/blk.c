// SPDX-License-Identifier: GPL-2.0-or-later
/* Just enough of virtio-blk to have requests in flight at a crash */
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "bare.h"

#define NR_REQUESTS	16
#define REQUEST_LEN	(IO_LEN / NR_REQUESTS)

static struct virtio dev;
static struct queue queue;
static struct virtio_blk_outhdr headers[NR_REQUESTS];
static uint8_t status[NR_REQUESTS];

u64 blk_content(u64 offset)
{
	return offset ^ 0xd15cd15cd15c0000ULL;
}

/* Read the disk's first MiB to IO_ADDR, and do not wait for it. */
void blk_submit(void)
{
	unsigned int i;

	if (!dev.pci) {
		if (!virtio_find(&dev, VIRTIO_ID_BLOCK))
			die("no disk");
		virtio_start(&dev, 0);
		virtio_queue(&dev, &queue, 0);
		virtio_ready(&dev);
	}
	for (i = 0; i < NR_REQUESTS; i++) {
		struct part parts[] = {
			{ &headers[i], sizeof(headers[i]), false },
			{ (void *)(IO_ADDR + i * REQUEST_LEN), REQUEST_LEN, true },
			{ &status[i], 1, true },
		};

		headers[i].type = VIRTIO_BLK_T_IN;
		headers[i].sector = i * REQUEST_LEN / 512;
		status[i] = 0xff;
		virtio_submit(&queue, parts, 3);
	}
}

/* The same, and check what was read. */
void blk_check(void)
{
	unsigned int wrong = 0, done;
	u64 at;

	memset((void *)IO_ADDR, 0, IO_LEN);
	blk_submit();
	for (done = 0; done < NR_REQUESTS; done++)
		while (virtio_used(&queue) < 0)
			;
	for (done = 0; done < NR_REQUESTS; done++)
		if (status[done])
			die("disk request %u: status %u", done, status[done]);
	for (at = 0; at < IO_LEN; at += 8)
		wrong += *(volatile u64 *)(IO_ADDR + at) != blk_content(at);
	say("disk wrong=%u", wrong);
}
