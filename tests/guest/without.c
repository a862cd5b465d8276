// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * without CAPABILITY PROGRAM...: run a program that does not have the capability
 * of this number, though root runs it, as in a container.
 */
#include <err.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: without CAPABILITY PROGRAM...");
	if (prctl(PR_CAPBSET_DROP, atoi(argv[1]), 0, 0, 0))
		err(2, "prctl");
	execvp(argv[2], argv + 2);
	err(2, "%s", argv[2]);
}
