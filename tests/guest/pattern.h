/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The content that tests put into a page: each 64-bit word depends on the
 * page's own number, on its place in the page and on a seed. So a page that is
 * shifted, repeated, taken from another page or from another run differs.
 * Shared by the test programs and the test modules.
 */
#ifndef FADUMP_TEST_PATTERN_H
#define FADUMP_TEST_PATTERN_H

#define PATTERN_PAGE_SIZE	4096UL
#define PATTERN_WORDS		(PATTERN_PAGE_SIZE / 8)

/* splitmix64's finalizer: every input bit reaches every output bit. */
static inline unsigned long long pattern_word(unsigned long long seed,
					      unsigned long long pfn,
					      unsigned int word)
{
	unsigned long long z = seed + (pfn * PATTERN_WORDS + word + 1) *
			       0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline void pattern_fill(void *page, unsigned long long seed,
				unsigned long long pfn)
{
	unsigned long long *p = page;
	unsigned int i;

	for (i = 0; i < PATTERN_WORDS; i++)
		p[i] = pattern_word(seed, pfn, i);
}

#endif
