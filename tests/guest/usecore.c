// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usecore map|read FILE: use a file for as long as it lasts. "map" maps all of
 * it and looks at one page after the other, "read" reads it from start to end;
 * both begin anew at the end. Prints "using SIZE" once it has been through
 * some of it, and at last what ended it:
 *	sigbus OFFSET	the mapping is gone
 *	error ERRNO	reading failed
 *	short		the file ended early
 * A signal ends it after ten minutes.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE	4096UL
#define CHUNK	(1UL << 20)
/* So much must have been used to say so. */
#define SOME	(8UL << 20)

static sigjmp_buf gone;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(gone, 1);
}

static void say_using(unsigned long done, unsigned long size)
{
	static int said;

	if (!said && done >= SOME) {
		said = 1;
		printf("using %lu\n", size);
		fflush(stdout);
	}
}

static void use_map(int fd, unsigned long size)
{
	volatile unsigned char *p;
	/* what siglongjmp() must not lose */
	static volatile unsigned long at;
	unsigned long sum = 0;

	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(2, "mmap");
	/* The mapping is what counts. */
	close(fd);
	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(gone, 1)) {
		printf("sigbus %lu\n", at);
		exit(0);
	}
	for (;;)
		for (at = 0; at < size; at += PAGE) {
			sum += p[at];
			say_using(at, size);
		}
}

static void use_read(int fd, unsigned long size)
{
	char *buf = malloc(CHUNK);
	unsigned long done;
	ssize_t n;

	if (!buf)
		err(2, "malloc");
	for (;;) {
		for (done = 0; done < size; done += n) {
			n = pread(fd, buf, CHUNK, done);
			if (n < 0) {
				printf("error %s\n", strerrorname_np(errno));
				exit(0);
			}
			if (n == 0) {
				printf("short\n");
				exit(0);
			}
			say_using(done, size);
		}
	}
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd;

	if (argc != 3)
		errx(2, "usage: usecore map|read FILE");
	fd = open(argv[2], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(2, "%s", argv[2]);
	alarm(600);
	if (!strcmp(argv[1], "map"))
		use_map(fd, st.st_size);
	else
		use_read(fd, st.st_size);
	return 1;
}
