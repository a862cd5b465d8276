// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexechold: hold the lock that loading a kernel takes, so that a kdump kernel
 * which is loaded cannot be started. It loads an image, not for a crash, whose
 * page userfaultfd keeps from it for ever. Prints "holding" once it is so.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	4096UL
/* where the image would go: anywhere in memory */
#define DEST	0x10000000UL

static void *load(void *page)
{
	struct {
		const void *buf;
		size_t bufsz;
		const void *mem;
		size_t memsz;
	} segment = { page, PAGE, (void *)DEST, PAGE };

	if (syscall(SYS_kexec_load, DEST, 1UL, &segment, 0UL))
		err(2, "kexec_load");
	errx(2, "kexec_load came back");
}

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct pollfd poller = { .events = POLLIN };
	pthread_t thread;
	void *page;

	poller.fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (poller.fd < 0 || page == MAP_FAILED ||
	    ioctl(poller.fd, UFFDIO_API, &api))
		err(2, "userfaultfd");
	reg.range.start = (unsigned long)page;
	reg.range.len = PAGE;
	if (ioctl(poller.fd, UFFDIO_REGISTER, &reg))
		err(2, "UFFDIO_REGISTER");
	if (pthread_create(&thread, NULL, load, page))
		errx(2, "pthread_create");
	/* It is copied with the lock held. */
	if (poll(&poller, 1, 60000) != 1)
		errx(2, "nobody reads the image");
	printf("holding\n");
	fflush(stdout);
	pause();
	return 1;
}
