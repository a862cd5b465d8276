/*
 * Range arithmetic for firmware-assisted dump
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure functions on guest-physical ranges, in bytes; nothing here allocates
 * guest memory or needs a lock. Inputs may come from the guest: every sum is
 * checked.
 */
#ifndef HW_MISC_FADUMP_RANGE_H
#define HW_MISC_FADUMP_RANGE_H

typedef struct FadumpRange {
    uint64_t base;
    uint64_t size;
} FadumpRange;

/* A part of a RAM map; @boot: it lies in boot memory. */
typedef struct FadumpPiece {
    uint64_t base;
    uint64_t size;
    bool boot;
} FadumpPiece;

/* Whether @r is not empty and its end does not wrap; the end is exclusive. */
bool fadump_range_valid(const FadumpRange *r);

/* Both must be valid. */
bool fadump_range_overlaps(const FadumpRange *a, const FadumpRange *b);

/*
 * Sort @ranges (of FadumpRange) by base and join those that touch.
 * Returns false, with @ranges sorted only, if one is invalid or two overlap.
 */
bool fadump_ranges_normalize(GArray *ranges);

/* The part of @a that lies in @b, both valid; false: none. */
bool fadump_range_intersect(const FadumpRange *a, const FadumpRange *b,
                            FadumpRange *part);

/* The range of @map, which must be normalized, that @r lies in, or NULL. */
const FadumpRange *fadump_ranges_find(const GArray *map, const FadumpRange *r);

/*
 * Whether @r lies completely in the union of @map; @map (of FadumpRange) must
 * be normalized.
 */
bool fadump_ranges_contain(const GArray *map, const FadumpRange *r);

/* What is in one of @a and @b and not in the other; all are normalized. */
GArray *fadump_ranges_xor(const GArray *a, const GArray *b);

/* Sum of the sizes in @map, which must be normalized. */
uint64_t fadump_ranges_size(const GArray *map);

/*
 * Cut @map at the borders of @boot: returns an array of FadumpPiece that
 * covers @map exactly, ascending. Both must be normalized. The caller frees.
 */
GArray *fadump_ranges_split(const GArray *map, const GArray *boot);

/*
 * @pieces, ascending, split at each of the addresses (uint64_t) in @cuts, which
 * is sorted. The caller frees.
 */
GArray *fadump_pieces_cut(const GArray *pieces, GArray *cuts);

/*
 * The boot memory of a machine with RAM @map (normalized): the first @size
 * bytes of RAM, then what does not fill a memory block of @block bytes (a
 * power of two) at the end of each RAM range, for a guest can only hot-add
 * whole blocks; and, where the RAM that @low_limit lies in or follows ends
 * above @low_limit but not above 4 GiB, the last block of that RAM too
 * (@low_limit 0: no such rule). Boot memory of a smaller @size lies in it.
 * Returns a normalized array of FadumpRange.
 */
GArray *fadump_boot_ranges(const GArray *map, uint64_t size, uint64_t block,
                           uint64_t low_limit);

#endif /* HW_MISC_FADUMP_RANGE_H */
