// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapbar RESOURCE LENGTH: map the start of a PCI BAR (a resourceN file of
 * sysfs), print its address, "mapped ADDRESS", and spin with it mapped. The
 * host's debugger can then write there through this process's page tables, as
 * no guest can: the dump device's window is read-only for guests.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	volatile unsigned long *p;
	unsigned long len, i;
	int fd;

	if (argc != 3)
		errx(2, "usage: mapbar RESOURCE LENGTH");
	len = strtoul(argv[2], NULL, 0);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(2, "%s", argv[1]);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(2, "%s: mmap", argv[1]);
	/* Page tables first: the debugger's walk does not fault pages in. */
	for (i = 0; i < len; i += 4096)
		(void)p[i / sizeof(*p)];
	printf("mapped %p\n", (void *)p);
	fflush(stdout);
	for (;;)
		;
}
