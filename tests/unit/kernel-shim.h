/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few kernel helpers that the driver's pure files use, for userspace.
 */
#ifndef KERNEL_SHIM_H
#define KERNEL_SHIM_H

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/elf.h>
#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define U16_MAX         UINT16_MAX
#define S64_MAX         INT64_MAX

#define __printf(a, b)  __attribute__((format(printf, a, b)))
#define ALIGN(x, a)     (((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))

#define le32_to_cpu(x)  le32toh(x)
#define le64_to_cpu(x)  le64toh(x)

/* As in the kernel: no inversion, neither before nor after. */
static inline u32 crc32_le(u32 crc, const void *buf, size_t len)
{
    const u8 *p = buf;

    while (len--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return crc;
}

#endif /* KERNEL_SHIM_H */
