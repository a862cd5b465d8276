// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fill memory with known content before a crash, and compare it afterwards.
 *
 * truth fill -s SEED -o LIST [-b BOOT_MEM] [-n PAGES] [-x MIB]
 *            [-f FILE] [-t TMPFS_FILE]
 *	Fill anonymous memory, with -f the page cache of a file, with -t the
 *	pages of a file on tmpfs, and with the module fadump_truth loaded kernel
 *	memory; write to LIST what page frames hold them, and stay (in the
 *	background) so that they do. Of each kind of user memory at least PAGES
 *	pages; of anonymous memory also at least PAGES pages below BOOT_MEM (with
 *	-b) and, if there is RAM there, PAGES pages above 4 GiB, if need be by
 *	taking up to MIB of memory until the kernel hands such pages out.
 * truth check VMCORE LIST SEED
 *	Compare those pages in an ELF dump. Runs in the guest on /proc/vmcore as
 *	on the host on a saved file. Exit status 0: all there, all equal.
 * truth dio DEVICE MIB SEED
 *	Write MIB to the start of DEVICE with direct I/O from buffers whose page
 *	frames lie above 4 GiB, then read it back and compare.
 * truth disk FILE MIB SEED
 *	Compare what dio wrote, on the host, in the disk's image.
 *
 * LIST has lines "PFN COUNT KIND", PFN hexadecimal, for COUNT pages from PFN.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define PAGE		PATTERN_PAGE_SIZE
#define CHUNK		(2UL << 20)
#define HOG		(128UL << 20)
#define PFN_4G		(1UL << 20)
#define TRUTH_DIR	"/sys/kernel/debug/fadump_truth/"

struct page_ref {
	uint64_t pfn;
	const char *kind;
};

static struct page_ref *pages;
static size_t nr_pages, room;

static void remember(uint64_t pfn, const char *kind)
{
	if (nr_pages == room) {
		room = room ? room * 2 : 65536;
		pages = realloc(pages, room * sizeof(*pages));
		if (!pages)
			err(2, "no memory for the list");
	}
	pages[nr_pages++] = (struct page_ref){ pfn, kind };
}

/* ---------------------------------------------------------------- */
/* fill                                                             */

static int pagemap = -1;

static uint64_t pfn_of(const void *addr)
{
	uint64_t entry;

	if (pagemap < 0) {
		pagemap = open("/proc/self/pagemap", O_RDONLY);
		if (pagemap < 0)
			err(2, "/proc/self/pagemap");
	}
	if (pread(pagemap, &entry, 8, (uintptr_t)addr / PAGE * 8) != 8)
		err(2, "/proc/self/pagemap");
	/* Bit 63: present. The frame number reads as 0 without privilege. */
	if (!(entry >> 63) || !(entry & ((1ULL << 55) - 1)))
		errx(2, "page at %p has no frame number (entry %#" PRIx64 ")",
		     addr, entry);
	return entry & ((1ULL << 55) - 1);
}

static bool ram_above_4g(void)
{
	unsigned long long start, end;
	char line[256], what[64];
	bool found = false;
	FILE *f = fopen("/proc/iomem", "r");

	if (!f)
		err(2, "/proc/iomem");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx : %63[^\n]", &start, &end,
			   what) == 3 &&
		    /* with whose it is behind it, if it was plugged */
		    !strncmp(what, "System RAM", 10) && end >= PFN_4G * PAGE)
			found = true;
	fclose(f);
	return found;
}

/*
 * Make the pages present, then keep them where they are: a frame number that
 * is written down must stay true until the crash.
 */
static char *locked_map(size_t len, int fd, off_t off, int advice)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, off);

	if (p == MAP_FAILED)
		return NULL;
	if (fd < 0)
		madvise(p, len, advice);
	if (mlock(p, len)) {
		munmap(p, len);
		return NULL;
	}
	return p;
}

static char *chunk_map(int fd, off_t off)
{
	return locked_map(CHUNK, fd, off, MADV_NOHUGEPAGE);
}

static void chunk_fill(char *chunk, uint64_t seed, const char *kind)
{
	uint64_t pfn[CHUNK / PAGE];
	size_t i;

	for (i = 0; i < CHUNK / PAGE; i++) {
		/*
		 * A write to a page of a file can move it to a new frame
		 * (copy on write, or a hole that gets its block), and that
		 * comes first.
		 */
		*(volatile char *)(chunk + i * PAGE) = 1;
		pfn[i] = pfn_of(chunk + i * PAGE);
		pattern_fill(chunk + i * PAGE, seed, pfn[i]);
	}
	for (i = 0; i < CHUNK / PAGE; i++) {
		if (pfn_of(chunk + i * PAGE) != pfn[i])
			errx(2, "%s page at %p moved from frame %#" PRIx64,
			     kind, chunk + i * PAGE, pfn[i]);
		remember(pfn[i], kind);
	}
}

static void fill_file(const char *path, const char *kind, uint64_t seed,
		      size_t want)
{
	size_t len = (want * PAGE + CHUNK - 1) / CHUNK * CHUNK, off;
	char zero[PAGE] = { 0 };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	void *chunk;

	if (fd < 0)
		err(2, "%s", path);
	/* Real blocks, so that no page is a hole. */
	for (off = 0; off < len; off += PAGE)
		if (write(fd, zero, PAGE) != PAGE)
			err(2, "%s", path);
	for (off = 0; off < len; off += CHUNK) {
		chunk = chunk_map(fd, off);
		if (!chunk)
			err(2, "%s: mmap", path);
		chunk_fill(chunk, seed, kind);
	}
	/* The mapping stays; a dirty page that is cleaned stays in place. */
}

static void fill_anon(uint64_t seed, size_t want, uint64_t boot_pages,
		      size_t max_mib)
{
	size_t taken = 0, low = 0, high = 0, any = 0, len, off, i;
	bool need_high = ram_above_4g(), need_low = boot_pages;
	char *p;

	for (;;) {
		if (any >= want && (!need_low || low >= want) &&
		    (!need_high || high >= want))
			return;
		if (taken >= max_mib << 20)
			break;
		/*
		 * Past many pages of the wrong sort at once, and quickly: in
		 * huge pages where there are some, while there is room.
		 */
		len = any < want ? CHUNK : HOG;
		p = len == HOG ? locked_map(HOG, -1, 0, MADV_HUGEPAGE) : NULL;
		if (!p) {
			len = CHUNK;
			p = chunk_map(-1, 0);
		}
		if (!p)
			break;
		taken += len;
		for (off = 0; off < len; off += CHUNK) {
			size_t l = 0, h = 0;

			for (i = 0; i < CHUNK; i += PAGE) {
				uint64_t pfn = pfn_of(p + off + i);

				l += pfn < boot_pages;
				h += pfn >= PFN_4G;
			}
			if (any >= want && !(l && low < want) &&
			    !(h && high < want))
				continue;
			madvise(p + off, CHUNK, MADV_NOHUGEPAGE);
			chunk_fill(p + off, seed, "anon");
			any += CHUNK / PAGE;
			low += l;
			high += h;
		}
	}
	errx(2, "after %zu MiB: %zu pages, %zu of them in boot memory, %zu above 4 GiB; %zu of each were wanted",
	     taken >> 20, any, low, high, want);
}

static void fill_kernel(uint64_t seed, size_t want)
{
	/* "dma": below 16 MiB, so inside any boot memory; that zone is small. */
	static const char *const zones[] = { "any", "dma32", "dma" };
	unsigned long pfn;
	size_t i;
	FILE *f;

	if (access(TRUTH_DIR, F_OK))
		return;
	for (i = 0; i < 3; i++) {
		f = fopen(TRUTH_DIR "fill", "w");
		if (!f)
			err(2, TRUTH_DIR "fill");
		fprintf(f, "%" PRIu64 " %zu %s", seed,
			i == 2 ? (size_t)64 : want, zones[i]);
		if (fclose(f))
			err(2, "filling kernel memory (%s)", zones[i]);
	}
	f = fopen(TRUTH_DIR "pages", "r");
	if (!f)
		err(2, TRUTH_DIR "pages");
	while (fscanf(f, "%lx", &pfn) == 1)
		remember(pfn, "kernel");
	fclose(f);
}

static int by_pfn(const void *a, const void *b)
{
	const struct page_ref *x = a, *y = b;

	return x->pfn < y->pfn ? -1 : x->pfn > y->pfn;
}

static void write_list(const char *path, uint64_t boot_pages)
{
	static const char *const kinds[] = { "anon", "file", "tmpfs", "kernel" };
	size_t i, j, k;
	FILE *f = fopen(path, "w");

	if (!f)
		err(2, "%s", path);
	qsort(pages, nr_pages, sizeof(*pages), by_pfn);
	for (i = 0; i < nr_pages; i = j) {
		for (j = i + 1; j < nr_pages; j++)
			if (pages[j].pfn != pages[i].pfn + (j - i) ||
			    pages[j].kind != pages[i].kind)
				break;
		fprintf(f, "%" PRIx64 " %zu %s\n", pages[i].pfn, j - i,
			pages[i].kind);
	}
	if (fflush(f) || fsync(fileno(f)) || fclose(f))
		err(2, "%s", path);
	sync();

	for (k = 0; k < 4; k++) {
		size_t all = 0, low = 0, high = 0;

		for (i = 0; i < nr_pages; i++) {
			if (strcmp(pages[i].kind, kinds[k]))
				continue;
			all++;
			low += pages[i].pfn < boot_pages;
			high += pages[i].pfn >= PFN_4G;
		}
		printf("%s %zu low %zu high %zu\n", kinds[k], all, low, high);
	}
}

static void set_knob(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		if (write(fd, value, strlen(value)) < 0)
			warn("%s", path);
		close(fd);
	}
}

static int do_fill(int argc, char **argv)
{
	const char *list = NULL, *file = NULL, *tmpfs = NULL;
	uint64_t seed = 0, boot_pages = 0;
	size_t want = 1024, max_mib = 256;
	int opt, fds[2];
	char ok = 0;

	while ((opt = getopt(argc, argv, "s:o:b:n:x:f:t:")) != -1) {
		switch (opt) {
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'o': list = optarg; break;
		case 'b': boot_pages = strtoull(optarg, NULL, 0) / PAGE; break;
		case 'n': want = strtoul(optarg, NULL, 0); break;
		case 'x': max_mib = strtoul(optarg, NULL, 0); break;
		case 'f': file = optarg; break;
		case 't': tmpfs = optarg; break;
		default: return 2;
		}
	}
	if (!list)
		errx(2, "-o LIST is missing");

	/* Compaction may move even locked pages unless told not to. */
	set_knob("/proc/sys/vm/compact_unevictable_allowed", "0");

	/* The pages belong to the child, which stays; the parent reports. */
	if (pipe(fds))
		err(2, "pipe");
	switch (fork()) {
	case -1:
		err(2, "fork");
	case 0:
		close(fds[0]);
		set_knob("/proc/self/oom_score_adj", "-1000");
		fill_kernel(seed, want);
		if (file)
			fill_file(file, "file", seed, want);
		if (tmpfs)
			fill_file(tmpfs, "tmpfs", seed, want);
		fill_anon(seed, want, boot_pages, max_mib);
		write_list(list, boot_pages);
		fflush(stdout);
		if (write(fds[1], "k", 1) != 1)
			err(2, "pipe");
		close(fds[1]);
		setsid();
		for (;;)
			pause();
	}
	close(fds[1]);
	return read(fds[0], &ok, 1) == 1 && ok == 'k' ? 0 : 2;
}

/* ---------------------------------------------------------------- */
/* check                                                            */

static Elf64_Phdr *phdrs;
static unsigned int nr_phdrs;

static void read_all(int fd, void *buf, size_t len, off_t off, const char *what)
{
	char *p = buf;
	ssize_t n;

	while (len) {
		n = pread(fd, p, len, off);
		if (n < 0)
			err(2, "%s at %#jx", what, (intmax_t)off);
		if (!n)
			errx(2, "%s ends before %#jx", what, (intmax_t)off);
		p += n;
		off += n;
		len -= n;
	}
}

static int open_core(const char *path)
{
	Elf64_Ehdr ehdr;
	Elf64_Shdr shdr;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		err(2, "%s", path);
	read_all(fd, &ehdr, sizeof(ehdr), 0, path);
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) ||
	    ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_type != ET_CORE)
		errx(2, "%s is no ELF64 core", path);
	nr_phdrs = ehdr.e_phnum;
	if (nr_phdrs == PN_XNUM) {
		read_all(fd, &shdr, sizeof(shdr), ehdr.e_shoff, path);
		nr_phdrs = shdr.sh_info;
	}
	phdrs = calloc(nr_phdrs, sizeof(*phdrs));
	if (!phdrs)
		err(2, "%u program headers", nr_phdrs);
	read_all(fd, phdrs, nr_phdrs * sizeof(*phdrs), ehdr.e_phoff, path);
	return fd;
}

/* Returns false if the dump does not have the page. */
static bool read_page(int fd, uint64_t addr, void *buf, const char *path)
{
	const Elf64_Phdr *p;
	uint64_t skip;

	for (p = phdrs; p < phdrs + nr_phdrs; p++) {
		if (p->p_type != PT_LOAD || addr < p->p_paddr ||
		    addr - p->p_paddr + PAGE > p->p_memsz)
			continue;
		skip = addr - p->p_paddr;
		/* Beyond filesz: left out of the file because it is zero. */
		memset(buf, 0, PAGE);
		if (skip < p->p_filesz)
			read_all(fd, buf, p->p_filesz - skip < PAGE ?
				 p->p_filesz - skip : PAGE,
				 p->p_offset + skip, path);
		return true;
	}
	return false;
}

static int do_check(const char *core, const char *list, uint64_t seed)
{
	unsigned long long count = 0, differ = 0, missing = 0, shown = 0;
	uint64_t buf[PATTERN_WORDS];
	unsigned long pfn, n;
	unsigned int w;
	char kind[16];
	int fd = open_core(core);
	FILE *f = fopen(list, "r");

	if (!f)
		err(2, "%s", list);
	while (fscanf(f, "%lx %lu %15s", &pfn, &n, kind) == 3) {
		for (; n--; pfn++, count++) {
			if (!read_page(fd, pfn * PAGE, buf, core)) {
				if (shown++ < 10)
					printf("%s page %#lx is not in the dump\n",
					       kind, pfn * PAGE);
				missing++;
				continue;
			}
			for (w = 0; w < PATTERN_WORDS; w++)
				if (buf[w] != pattern_word(seed, pfn, w))
					break;
			if (w == PATTERN_WORDS)
				continue;
			differ++;
			if (shown++ < 10)
				printf("%s page %#lx word %u: %#018" PRIx64
				       ", expected %#018llx\n", kind,
				       pfn * PAGE, w, buf[w],
				       pattern_word(seed, pfn, w));
		}
	}
	fclose(f);
	printf("checked %llu differ %llu missing %llu\n", count, differ,
	       missing);
	return count && !differ && !missing ? 0 : 1;
}

/* ---------------------------------------------------------------- */
/* dio                                                              */

/*
 * The pattern is that of the block's number, not of the buffer's frame, so the
 * host can check the disk without knowing the guest's buffers.
 */
static int do_dio(const char *path, size_t mib, uint64_t seed)
{
	size_t nr = mib * (1 << 20) / PAGE, have = 0, i, tries;
	char **buf = calloc(nr, sizeof(*buf)), *p;
	int fd = open(path, O_RDWR | O_DIRECT | O_SYNC);
	unsigned int w;

	if (fd < 0)
		err(2, "%s", path);
	if (!buf)
		err(2, "%zu buffers", nr);
	/* The kernel's own choice of page, so: ask until they are high. */
	for (tries = 0; have < nr; tries++) {
		if (tries > (4UL << 30) / PAGE)
			errx(2, "only %zu pages above 4 GiB", have);
		p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || mlock(p, PAGE))
			err(2, "only %zu pages above 4 GiB", have);
		if (pfn_of(p) >= PFN_4G)
			buf[have++] = p;
	}
	for (i = 0; i < nr; i++) {
		pattern_fill(buf[i], seed, i);
		if (pwrite(fd, buf[i], PAGE, i * PAGE) != PAGE)
			err(1, "%s: writing block %zu", path, i);
	}
	for (i = 0; i < nr; i++) {
		memset(buf[i], 0, PAGE);
		if (pread(fd, buf[i], PAGE, i * PAGE) != PAGE)
			err(1, "%s: reading block %zu", path, i);
		for (w = 0; w < PATTERN_WORDS; w++)
			if (((uint64_t *)buf[i])[w] != pattern_word(seed, i, w))
				errx(1, "%s: block %zu word %u differs", path, i, w);
		if (pfn_of(buf[i]) < PFN_4G)
			errx(2, "buffer %zu moved below 4 GiB", i);
	}
	printf("dio %zu pages, all above 4 GiB\n", nr);
	return 0;
}

static int do_disk(const char *path, size_t mib, uint64_t seed)
{
	size_t nr = mib * (1 << 20) / PAGE, i, differ = 0;
	uint64_t buf[PATTERN_WORDS];
	int fd = open(path, O_RDONLY);
	unsigned int w;

	if (fd < 0)
		err(2, "%s", path);
	for (i = 0; i < nr; i++) {
		read_all(fd, buf, PAGE, i * PAGE, path);
		for (w = 0; w < PATTERN_WORDS; w++)
			if (buf[w] != pattern_word(seed, i, w))
				break;
		differ += w != PATTERN_WORDS;
	}
	printf("disk %zu blocks differ %zu\n", nr, differ);
	return differ ? 1 : 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "fill"))
		return do_fill(argc - 1, argv + 1);
	if (argc == 5 && !strcmp(argv[1], "check"))
		return do_check(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc == 5 && !strcmp(argv[1], "dio"))
		return do_dio(argv[2], strtoul(argv[3], NULL, 0),
			      strtoull(argv[4], NULL, 0));
	if (argc == 5 && !strcmp(argv[1], "disk"))
		return do_disk(argv[2], strtoul(argv[3], NULL, 0),
			       strtoull(argv[4], NULL, 0));
	fprintf(stderr, "usage: truth fill|check|dio|disk ..., see the source\n");
	return 2;
}
