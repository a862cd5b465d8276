// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How fast a dump can be read, and how fast this guest copies memory at all.
 *
 * bandwidth FILE [-b KIB] [-n MIB] [-o OFFSET] [-r ROUNDS] [MODE...]
 *	Read MIB (default: all) of FILE, which is /proc/vmcore as a rule, from
 *	OFFSET on in pieces of KIB (default 4096), ROUNDS times (default 3), for
 *	each MODE (default: all of them):
 *
 *	memcpy		copy between two buffers of that size, no file: the bound
 *	read		read() into a buffer
 *	mmap		map each piece, copy it out, unmap it (as makedumpfile does)
 *	map		map and unmap each piece, and touch nothing
 *	whole		map all of it at once and copy it out
 *
 * The output has a line for each, of the best round:
 *
 *	MODE KIB bytes BYTES ns NANOSECONDS MIB_PER_SECOND MiB/s
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL

static const char *path;
static int fd;
static off_t first;
static uint64_t total;
static size_t piece = 4UL << 20;
static char *buf, *buf2;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static size_t left(uint64_t done)
{
	return total - done < piece ? total - done : piece;
}

static void run_memcpy(void)
{
	uint64_t done;

	for (done = 0; done < total; done += piece) {
		memcpy(buf, buf2, left(done));
		/* or the compiler sees that nobody looks at it */
		__asm__ volatile("" : : "r"(buf) : "memory");
	}
}

static void run_read(void)
{
	uint64_t done = 0;

	while (done < total) {
		ssize_t n = pread(fd, buf, left(done), first + done);

		if (n < 0)
			err(2, "%s: read at %#" PRIx64, path, first + done);
		if (!n)
			errx(2, "%s ends at %#" PRIx64, path, first + done);
		done += n;
	}
}

static void *map(uint64_t done, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, first + done);

	if (p == MAP_FAILED)
		err(2, "%s: mmap of %zu bytes at %#" PRIx64, path, n,
		    first + done);
	return p;
}

static void run_map_pieces(int touch)
{
	uint64_t done;

	for (done = 0; done < total; done += piece) {
		size_t n = left(done);
		void *p = map(done, n);

		if (touch)
			memcpy(buf, p, n);
		munmap(p, n);
	}
}

static void run_mmap(void)
{
	run_map_pieces(1);
}

static void run_map(void)
{
	run_map_pieces(0);
}

static void run_whole(void)
{
	char *p = map(0, total);
	uint64_t done;

	for (done = 0; done < total; done += piece)
		memcpy(buf, p + done, left(done));
	munmap(p, total);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "memcpy", run_memcpy },
	{ "read", run_read },
	{ "mmap", run_mmap },
	{ "map", run_map },
	{ "whole", run_whole },
};

#define NR_MODES	(sizeof(modes) / sizeof(modes[0]))

static int wanted(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

static uint64_t number(const char *text, const char *what)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		errx(2, "%s is no number of %s", text, what);
	return n;
}

int main(int argc, char **argv)
{
	unsigned int rounds = 3, r;
	uint64_t max = UINT64_MAX;
	struct stat st;
	size_t i, j;
	int opt;

	while ((opt = getopt(argc, argv, "b:n:o:r:")) != -1) {
		switch (opt) {
		case 'b':
			piece = number(optarg, "KiB") << 10;
			break;
		case 'n':
			max = number(optarg, "MiB") << 20;
			break;
		case 'o':
			first = number(optarg, "bytes");
			break;
		case 'r':
			rounds = number(optarg, "rounds");
			break;
		default:
			errx(2, "usage: bandwidth FILE [-b KIB] [-n MIB] [-o OFFSET] [-r ROUNDS] [MODE...]");
		}
	}
	if (optind >= argc)
		errx(2, "no file was named");
	path = argv[optind++];
	for (i = optind; i < (size_t)argc; i++) {
		for (j = 0; j < NR_MODES && strcmp(modes[j].name, argv[i]); j++)
			;
		if (j == NR_MODES)
			errx(2, "%s is no mode", argv[i]);
	}
	if (!piece || piece % PAGE || first % PAGE || !rounds)
		errx(2, "pieces and the offset are whole pages, rounds not 0");

	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", path);
	if (st.st_size <= first)
		errx(2, "%s has %jd bytes", path, (intmax_t)st.st_size);
	total = st.st_size - first;
	if (total > max)
		total = max;

	/* Present, so that no round pays for the pages. */
	buf = aligned_alloc(2UL << 20, (piece + (2UL << 20) - 1) & -(2UL << 20));
	buf2 = aligned_alloc(2UL << 20, (piece + (2UL << 20) - 1) & -(2UL << 20));
	if (!buf || !buf2)
		err(2, "no memory for two buffers");
	memset(buf, 1, piece);
	memset(buf2, 2, piece);

	for (i = 0; i < NR_MODES; i++) {
		uint64_t best = UINT64_MAX;

		if (!wanted(modes[i].name, argv + optind))
			continue;
		for (r = 0; r < rounds; r++) {
			uint64_t start = now_ns(), ns;

			modes[i].run();
			ns = now_ns() - start;
			if (ns < best)
				best = ns;
		}
		printf("%s %zu bytes %" PRIu64 " ns %" PRIu64 " %.0f MiB/s\n",
		       modes[i].name, piece >> 10, total, best,
		       (double)total / (1 << 20) / (best / 1e9));
		fflush(stdout);
	}
	return 0;
}
