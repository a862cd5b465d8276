// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Disk requests and packets that are in flight when the guest crashes, and what
 * must be true afterwards of memory and disk.
 *
 * flight run DEVICE MIB SEED BOOT_MEM LIST
 *	For ever: half of the threads write to the first half
 *	of those MIB, each write with another generation, and half read the other
 *	half, each time to other memory, with direct I/O. Of either half of the
 *	threads one half has its buffers in boot memory, and one beyond it. LIST
 *	is told what page frames are read to, and from which blocks.
 * flight write DEVICE MIB SEED
 *	What must be there before: generation 0 of all.
 * flight disk DEVICE MIB SEED
 *	Each sector is of one generation, whole; on the host, too.
 * flight memory VMCORE LIST SEED
 *	Each page that was read to is as it was before, or as it is on the disk;
 *	on the host.
 * flight send ADDRESS
 *	Packets to that address, for ever.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pattern.h"

#define PAGE		PATTERN_PAGE_SIZE
#define CHUNK		(2UL << 20)
#define MAX_CHUNKS	512
#define REQUEST		(8 * PAGE)
#define SECTOR_WORDS	(512 / 8)
#define THREADS		16
/* what a buffer holds before it is read to */
#define BEFORE		0xbef04e

typedef unsigned long long u64;

static int disk;
static u64 seed;

/* Each sector begins with its block's generation, on which the rest depends. */
static void block_fill(u64 *block, u64 number, u64 generation)
{
	unsigned int w;

	pattern_fill(block, seed + generation, number);
	for (w = 0; w < PATTERN_WORDS; w += SECTOR_WORDS)
		block[w] = generation ^ pattern_word(seed, number, w);
}

/* How many sectors are of no generation. */
static unsigned int block_wrong(const u64 *block, u64 number)
{
	unsigned int s, w, wrong = 0;

	for (s = 0; s < PATTERN_WORDS; s += SECTOR_WORDS) {
		u64 generation = block[s] ^ pattern_word(seed, number, s);

		for (w = s + 1; w < s + SECTOR_WORDS; w++)
			if (block[w] != pattern_word(seed + generation, number, w))
				break;
		wrong += w < s + SECTOR_WORDS;
	}
	return wrong;
}

static u64 pfn_of(const void *addr)
{
	static int pagemap = -1;
	u64 entry;

	/* Bits above 54 are flags; no frame number: not present, or no root */
	if (pagemap < 0)
		pagemap = open("/proc/self/pagemap", O_RDONLY);
	if (pread(pagemap, &entry, 8, (uintptr_t)addr / PAGE * 8) != 8 ||
	    !(entry & ((1ULL << 55) - 1)))
		err(2, "/proc/self/pagemap");
	return entry & ((1ULL << 55) - 1);
}

/* ---------------------------------------------------------------- */
/* run                                                              */

static void transfer(bool write, void *buf, u64 block)
{
	ssize_t n = write ? pwrite(disk, buf, REQUEST, block * PAGE) :
			    pread(disk, buf, REQUEST, block * PAGE);

	if (n != REQUEST)
		err(1, "%s block %llu", write ? "write" : "read", block);
}

struct worker {
	pthread_t thread;
	char *buf;
	u64 first, nr;
	bool writes;
};

static void *work(void *opaque)
{
	struct worker *me = opaque;
	u64 at = 0, generation = 1, i;
	char *buf;

	for (buf = me->buf; ; ) {
		/* one that was read to stays as it is */
		if (buf == me->buf + CHUNK)
			pause();
		if (me->writes)
			for (i = 0; i < REQUEST / PAGE; i++)
				block_fill((u64 *)(buf + i * PAGE),
					   me->first + at + i, generation);
		transfer(me->writes, buf, me->first + at);
		at += REQUEST / PAGE;
		if (at + REQUEST / PAGE > me->nr) {
			at = 0;
			generation++;
		}
		if (!me->writes)
			buf += REQUEST;
	}
	return NULL;
}

/* THREADS / 2 chunks in boot memory, and as many beyond it, in turn */
static void find_chunks(char **chunks, u64 boot_pages)
{
	char *taken[MAX_CHUNKS], *page;
	unsigned int nr[2] = { 0 }, i, low;

	for (i = 0; i < MAX_CHUNKS && nr[0] + nr[1] < THREADS; i++) {
		char *p = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			err(2, "mmap");
		p = (char *)(((uintptr_t)p + CHUNK - 1) / CHUNK * CHUNK);
		/* many at once: what is wanted may come last */
		madvise(p, CHUNK, MADV_HUGEPAGE);
		if (mlock(p, CHUNK))
			break;
		for (low = 0, page = p; page < p + CHUNK; page += PAGE)
			low += pfn_of(page) < boot_pages;
		taken[i] = p;
		if (low % (CHUNK / PAGE) || nr[!low] == THREADS / 2)
			continue;
		chunks[2 * nr[!low]++ + !low] = p;
		taken[i] = NULL;
	}
	if (nr[0] + nr[1] < THREADS)
		errx(2, "after %u MiB: %u MiB of boot memory, %u beyond it",
		     2 * i, 2 * nr[0], 2 * nr[1]);
	while (i-- > 0)
		if (taken[i])
			munmap(taken[i], CHUNK);
}

static int do_run(const char *path, size_t mib, u64 boot_mem, const char *list)
{
	static struct worker workers[THREADS];
	u64 nr = mib * (1 << 20) / PAGE / THREADS, pfn;
	FILE *f = fopen(list, "w");
	char *chunks[THREADS];
	unsigned int i;
	size_t off;

	disk = open(path, O_RDWR | O_DIRECT);
	if (disk < 0 || !f)
		err(2, "%s, %s", path, list);
	find_chunks(chunks, boot_mem / PAGE);
	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker) {
			.buf = chunks[i],
			.first = nr * i,
			.nr = nr,
			.writes = i < THREADS / 2,
		};
		for (off = 0; off < CHUNK && !workers[i].writes; off += PAGE) {
			pfn = pfn_of(chunks[i] + off);
			pattern_fill(chunks[i] + off, BEFORE, pfn);
			fprintf(f, "%llx %llu\n", pfn,
				workers[i].first + off / PAGE % nr);
		}
	}
	if (fclose(f))
		err(2, "%s", list);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			errx(2, "no thread");
	puts("running");
	for (;;)
		pause();
}

/* ---------------------------------------------------------------- */
/* before and after                                                 */

static void *page_buffer(void)
{
	void *p = aligned_alloc(PAGE, PAGE);

	if (!p)
		err(2, "no memory");
	return p;
}

static int do_write(const char *path, size_t mib)
{
	u64 *block = page_buffer(), i;

	disk = open(path, O_WRONLY | O_CREAT, 0600);
	if (disk < 0)
		err(2, "%s", path);
	for (i = 0; i < mib * (1 << 20) / PAGE; i++) {
		block_fill(block, i, 0);
		if (pwrite(disk, block, PAGE, i * PAGE) != PAGE)
			err(1, "%s: block %llu", path, i);
	}
	if (fsync(disk))
		err(1, "%s", path);
	return 0;
}

static int do_disk(const char *path, size_t mib)
{
	unsigned int wrong, sectors = 0, shown = 0;
	u64 *block = page_buffer(), nr = mib * (1 << 20) / PAGE, later = 0, i;

	disk = open(path, O_RDONLY | O_DIRECT);
	if (disk < 0)
		err(2, "%s", path);
	for (i = 0; i < nr; i++) {
		if (pread(disk, block, PAGE, i * PAGE) != PAGE)
			err(1, "%s: block %llu", path, i);
		wrong = block_wrong(block, i);
		sectors += wrong;
		later += block[0] != pattern_word(seed, i, 0);
		if (wrong && shown++ < 10)
			printf("block %llu: %u sectors wrong, begins %#llx\n",
			       i, wrong, block[0]);
	}
	printf("blocks %llu rewritten %llu sectors wrong %u\n", nr, later,
	       sectors);
	return sectors != 0;
}

/* A dump of QEMU's has all that it has in the file. */
static void read_dump(int fd, u64 addr, void *buf, const char *path)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	unsigned int i;

	if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr))
		err(2, "%s", path);
	for (i = 0; i < ehdr.e_phnum; i++) {
		if (pread(fd, &phdr, sizeof(phdr), ehdr.e_phoff +
			  i * sizeof(phdr)) != sizeof(phdr))
			err(2, "%s", path);
		if (phdr.p_type == PT_LOAD && addr >= phdr.p_paddr &&
		    addr - phdr.p_paddr + PAGE <= phdr.p_filesz &&
		    pread(fd, buf, PAGE, phdr.p_offset + addr -
			  phdr.p_paddr) == PAGE)
			return;
	}
	errx(1, "%s has no page %#llx", path, addr);
}

static int do_memory(const char *core, const char *list)
{
	u64 *page = page_buffer(), *before = page_buffer(), pfn, block;
	unsigned int old = 0, new = 0, wrong = 0;
	int fd = open(core, O_RDONLY);
	FILE *f = fopen(list, "r");

	if (fd < 0 || !f)
		err(2, "%s, %s", core, list);
	while (fscanf(f, "%llx %llu", &pfn, &block) == 2) {
		read_dump(fd, pfn * PAGE, page, core);
		pattern_fill(before, BEFORE, pfn);
		if (!memcmp(page, before, PAGE)) {
			old++;
		} else if (!block_wrong(page, block)) {
			new++;
		} else if (wrong++ < 10) {
			printf("page %#llx begins %#llx\n", pfn * PAGE, page[0]);
		}
	}
	printf("old %u new %u wrong %u\n", old, new, wrong);
	return wrong != 0;
}

/* ---------------------------------------------------------------- */

static int do_send(const char *address)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = inet_addr(address),
	};
	int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	char packet[1024] = "";

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)))
		err(2, "socket");
	for (;;)
		if (sendto(s, packet, sizeof(packet), 0, (void *)&to,
			   sizeof(to)) < 0)
			usleep(1000);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 4)
		seed = strtoull(argv[4], NULL, 0);
	if (argc == 3 && !strcmp(argv[1], "send"))
		return do_send(argv[2]);
	if (argc == 7 && !strcmp(argv[1], "run"))
		return do_run(argv[2], atoi(argv[3]), strtoull(argv[5], NULL, 0),
			      argv[6]);
	if (argc == 5 && !strcmp(argv[1], "write"))
		return do_write(argv[2], atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "disk"))
		return do_disk(argv[2], atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "memory"))
		return do_memory(argv[2], argv[3]);
	errx(2, "see the head of tests/guest/flight.c");
}
