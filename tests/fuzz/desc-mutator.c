/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How libFuzzer changes a dump descriptor, for all harnesses that read one.
 *
 * Bytes changed at random would fail at the checksum, or at the size. So most
 * of the time fields are changed, to values that other fields have or that lie
 * at a limit, and what comes out is sealed again; now and then it is not.
 */
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <linux/virtio_fadump.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed);

#define HDR sizeof(struct virtio_fadump_desc)

static uint64_t random_state;

/* SplitMix64: a seed gives the same mutation again. */
static uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
    return random_u64() % n;
}

static uint64_t get(const uint8_t *data, size_t at, size_t width)
{
    uint64_t v = 0;

    memcpy(&v, data + at, width);
    return le64toh(v);
}

static void put(uint8_t *data, size_t at, size_t width, uint64_t value)
{
    value = htole64(value);
    memcpy(data + at, &value, width);
}

/* Any field of the header or of either table: they are all 4 or 8 bytes. */
static size_t some_field(const uint8_t *data, size_t size, size_t *width)
{
    static const struct {
        size_t off, nr, elem;
    } tables[] = {
        {
            offsetof(struct virtio_fadump_desc, vcpus_off),
            offsetof(struct virtio_fadump_desc, nr_vcpus),
            offsetof(struct virtio_fadump_desc, vcpu_size),
        }, {
            offsetof(struct virtio_fadump_desc, ranges_off),
            offsetof(struct virtio_fadump_desc, nr_ranges),
            offsetof(struct virtio_fadump_desc, range_size),
        },
    };
    uint64_t start = 0, len = HDR, t = below(5);

    if (t) {
        /* ranges twice as often as vCPUs, and as the header and notes */
        t = t > 2 ? 1 : t - 1;
        start = get(data, tables[t].off, 8);
        len = get(data, tables[t].nr, 4) * get(data, tables[t].elem, 4);
        if (start >= size) {
            start = 0;
        }
    }
    if (!below(6)) {
        start = HDR;
        len = size;
    }
    if (len > size - start) {
        len = size - start;
    }
    *width = below(2) ? 4 : 8;
    start += len < 8 ? 0 : below(len / *width) * *width;
    return start > size - *width ? size - *width : start;
}

static uint64_t some_value(const uint8_t *data, size_t size, uint64_t old)
{
    static const uint64_t limits[] = {
        0, 1, 2, 3, 4, 8, 4096, 65536, 1ULL << 30, 1ULL << 32, 1ULL << 46,
        1ULL << 63, UINT32_MAX, UINT64_MAX,
    };
    size_t width, at;

    switch (below(8)) {
    case 0:
        return limits[below(sizeof(limits) / sizeof(limits[0]))];
    case 1:
        return old + below(17) - 8;
    case 2:
        return old ^ 1ULL << below(64);
    case 3:
        return old + ((below(17) - 8) << 12);
    case 4:
        return size - below(64);
    case 5:
        return UINT64_MAX << below(64);
    default:
        at = some_field(data, size, &width);
        return get(data, at, width) +
               (below(2) ? 0 : get(data, some_field(data, size, &width), width));
    }
}

/* An element more or less, and what lies behind it moves. */
static size_t change_table(uint8_t *data, size_t size, size_t max_size)
{
    struct virtio_fadump_desc *h = (void *)data;
    uint64_t elem = le32toh(h->range_size);
    uint64_t end = le64toh(h->ranges_off) +
                   le32toh(h->nr_ranges) * elem;

    if (le64toh(h->ranges_off) > size || end > size ||
        elem < sizeof(struct virtio_fadump_range) || elem > 256 || !h->nr_ranges) {
        return size;
    }
    if (below(3)) {
        if (size + elem > max_size) {
            return size;
        }
        memmove(data + end, data + end - elem, size - end + elem);
        h->nr_ranges = htole32(le32toh(h->nr_ranges) + 1);
        /* the new one begins where the one before ends, most of the time */
        if (below(4)) {
            put(data, end, 8, get(data, end, 8) + get(data, end + 8, 8));
        }
        return size + elem;
    }
    memmove(data + end - elem, data + end, size - end);
    h->nr_ranges = htole32(le32toh(h->nr_ranges) - 1);
    return size - elem;
}

static void seal(uint8_t *data, size_t size)
{
    struct virtio_fadump_desc *h = (void *)data;

    memcpy(h->magic, VIRTIO_FADUMP_DESC_MAGIC, sizeof(h->magic));
    h->version = htole32(VIRTIO_FADUMP_DESC_VERSION);
    h->total_size = htole64(size);
    h->checksum = 0;
    h->checksum = htole32(crc32(0, data, size));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed)
{
    uint64_t n;

    random_state = seed;
    if (size < HDR || !below(8)) {
        size = LLVMFuzzerMutate(data, size, max_size);
        if (size < HDR) {
            return size;
        }
    } else {
        if (!below(4)) {
            size = change_table(data, size, max_size);
        }
        for (n = 1 + below(4); n; n--) {
            size_t width, at = some_field(data, size, &width);

            put(data, at, width,
                some_value(data, size, get(data, at, width)));
        }
    }
    if (below(16)) {
        seal(data, size);
    }
    return size;
}
