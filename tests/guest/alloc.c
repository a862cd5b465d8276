// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * alloc PERCENT [hold]: allocate that part of MemTotal, write every page, then
 * read every page back. What a service does with memory that it was promised.
 * With hold a child stays in the background and keeps it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

int main(int argc, char **argv)
{
	unsigned long long total = 0, seed = 80;
	unsigned long nr, i;
	char line[128], *mem;
	FILE *f;

	if (argc < 2)
		errx(2, "usage: alloc PERCENT [hold]");
	f = fopen("/proc/meminfo", "r");
	if (!f)
		err(2, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemTotal: %llu kB", &total) == 1)
			break;
	fclose(f);
	nr = total * 1024 / PATTERN_PAGE_SIZE * strtoul(argv[1], NULL, 0) / 100;
	mem = mmap(NULL, nr * PATTERN_PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		err(1, "%lu pages", nr);
	/*
	 * One word of each cache line: every line of every page is touched, and
	 * an emulated processor is done in reasonable time.
	 */
	for (i = 0; i < nr; i++) {
		unsigned long long *p = (void *)(mem + i * PATTERN_PAGE_SIZE);
		unsigned int w;

		for (w = 0; w < PATTERN_WORDS; w += 8)
			p[w] = seed + i * PATTERN_WORDS + w;
	}
	for (i = 0; i < nr; i++) {
		unsigned long long *p = (void *)(mem + i * PATTERN_PAGE_SIZE);
		unsigned int w;

		for (w = 0; w < PATTERN_WORDS; w += 8)
			if (p[w] != seed + i * PATTERN_WORDS + w)
				errx(1, "page %lu of %lu lost its content", i, nr);
	}
	printf("alloc %lu MiB of %llu MiB written and read back\n",
	       nr * PATTERN_PAGE_SIZE >> 20, total >> 10);
	fflush(stdout);
	if (argc > 2 && !strcmp(argv[2], "hold") && fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
	return 0;
}
