// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * copy BYTES: ways to set that much memory aside, on the host and without a
 * guest. Prints "WAY NANOSECONDS" for each:
 *	mremap		page tables are moved, as the device does
 *	threads		copied by all processors at once, as the device does
 *			where it cannot move
 *	bounce		copied through a buffer of 32 MiB, as QEMU's pseries
 *			machine does for its guests
 *	bounce-warm	the same to memory that has been used before
 * Each has fresh memory, with all of the source touched and, but for the last,
 * nothing of the destination.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB		(1UL << 20)
#define HUGE_PAGE	(2 * MIB)
#define BOUNCE		(32 * MIB)
#define THREADS_MAX	8
#define ROUND_UP(n, to)	(((n) + (to) - 1) / (to) * (to))

struct slice {
	pthread_t thread;
	char *to;
	const char *from;
	size_t size;
};

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Aligned and with huge pages if the host gives them, as QEMU's RAM blocks. */
static char *fresh(size_t size)
{
	char *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *aligned;

	if (p == MAP_FAILED)
		err(1, "%zu bytes", size);
	aligned = (char *)ROUND_UP((uintptr_t)p, HUGE_PAGE);
	if (aligned > p)
		munmap(p, aligned - p);
	munmap(aligned + size, p + HUGE_PAGE - aligned);
	madvise(aligned, size, MADV_HUGEPAGE);
	return aligned;
}

static void by_mremap(char *to, char *from, size_t size)
{
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED |
		   MREMAP_DONTUNMAP, to) == MAP_FAILED)
		err(1, "mremap");
}

static void *copy_slice(void *opaque)
{
	struct slice *s = opaque;

	if (madvise(s->to, s->size, MADV_POPULATE_WRITE) && errno != EINVAL)
		err(1, "no memory for a copy");
	memcpy(s->to, s->from, s->size);
	return NULL;
}

static void by_threads(char *to, char *from, size_t size)
{
	struct slice slices[THREADS_MAX];
	long n = sysconf(_SC_NPROCESSORS_ONLN), i;
	size_t each, at = 0;

	n = n > THREADS_MAX ? THREADS_MAX : n;
	each = ROUND_UP(size / n, HUGE_PAGE);
	for (i = 0; i < n && at < size; i++, at += each) {
		slices[i].to = to + at;
		slices[i].from = from + at;
		slices[i].size = size - at < each ? size - at : each;
		if (pthread_create(&slices[i].thread, NULL, copy_slice,
				   &slices[i]))
			errx(1, "no thread");
	}
	while (i--)
		pthread_join(slices[i].thread, NULL);
}

static void by_bounce(char *to, char *from, size_t size)
{
	char *bounce = malloc(BOUNCE);
	size_t at, n;

	if (!bounce)
		err(1, "malloc");
	for (at = 0; at < size; at += n) {
		n = size - at < BOUNCE ? size - at : BOUNCE;
		memcpy(bounce, from + at, n);
		/* two copies, whatever the compiler thinks of that */
		__asm__ volatile("" : : "r" (bounce) : "memory");
		memcpy(to + at, bounce, n);
	}
	free(bounce);
}

static void measure(const char *way, size_t size, int warm,
		    void (*set_aside)(char *to, char *from, size_t size))
{
	char *from = fresh(size), *to = fresh(size);
	long long begin;

	memset(from, 0x5a, size);
	if (warm)
		memset(to, 0xa5, size);
	begin = now();
	set_aside(to, from, size);
	printf("%s %lld\n", way, now() - begin);
	if (to[0] != 0x5a || to[size / 2] != 0x5a || to[size - 1] != 0x5a)
		errx(1, "%s lost what it set aside", way);
	munmap(from, size);
	munmap(to, size);
}

int main(int argc, char **argv)
{
	size_t size = argc == 2 ? strtoull(argv[1], NULL, 0) : 0;

	if (!size || size % HUGE_PAGE)
		errx(2, "usage: copy BYTES, a multiple of 2 MiB");
	measure("mremap", size, 0, by_mremap);
	measure("threads", size, 0, by_threads);
	measure("bounce", size, 0, by_bounce);
	measure("bounce-warm", size, 1, by_bounce);
	return 0;
}
