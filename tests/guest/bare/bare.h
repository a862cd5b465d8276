/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without an operating system that drives virtio-fadump itself and
 * knows what each page of its memory should hold. main.c says what it can do.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE	4096ULL
#define MIB		(1ULL << 20)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

typedef unsigned long long u64;

struct span {
	u64 addr;
	u64 len;
};

/*
 * Ports, and device memory by plain moves only: some KVM emulate no more there.
 */
static inline void outb(uint16_t port, uint8_t v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	asm volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint8_t read8(u64 addr)
{
	uint8_t v;

	asm volatile("movb (%1), %0" : "=q"(v) : "r"(addr) : "memory");
	return v;
}

static inline uint16_t read16(u64 addr)
{
	uint16_t v;

	asm volatile("movw (%1), %0" : "=r"(v) : "r"(addr) : "memory");
	return v;
}

static inline uint32_t read32(u64 addr)
{
	uint32_t v;

	asm volatile("movl (%1), %0" : "=r"(v) : "r"(addr) : "memory");
	return v;
}

static inline u64 read64(u64 addr)
{
	return read32(addr) | (u64)read32(addr + 4) << 32;
}

static inline void write8(u64 addr, uint8_t v)
{
	asm volatile("movb %0, (%1)" : : "q"(v), "r"(addr) : "memory");
}

static inline void write16(u64 addr, uint16_t v)
{
	asm volatile("movw %0, (%1)" : : "r"(v), "r"(addr) : "memory");
}

static inline void write32(u64 addr, uint32_t v)
{
	asm volatile("movl %0, (%1)" : : "r"(v), "r"(addr) : "memory");
}

static inline void write64(u64 addr, u64 v)
{
	write32(addr, v);
	write32(addr + 4, v >> 32);
}

/* start.S */
extern char image_start[], constant_end[], image_end[];
extern u64 pml4[512];
/* by the number that x86 encodes them with; rsp's is not used */
extern u64 crash_regs[16];
extern char crash_trigger[], crash_reset[], crash_triple[], crash_hang[];
extern char crash_end[];
void halt(void) __attribute__((noreturn));
void crash(void *how) __attribute__((noreturn));
unsigned int run_at(u64 addr);

/* say.c */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* lib.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
int strcmp(const char *a, const char *b);
u64 number(const char *s);
uint32_t crc32(const void *data, size_t n, uint32_t crc);

/* machine.c: what else of a PC is needed */
uint8_t cmos_read(uint8_t reg);
void cmos_write(uint8_t reg, uint8_t v);
/* the host has written a byte to the second serial port */
bool serial_ready(void);
/* wait until it has, and take the byte */
void serial_wait(void);
/* copy a file's first bytes; its size, or 0 if there is none */
size_t fw_cfg_read(const char *name, void *buf, size_t room);

/* pci.c */
#define PCI_VENDOR_VIRTIO	0x1af4

/* its address in configuration space, or 0 */
uint32_t pci_find(uint16_t vendor, uint16_t device);
uint32_t pci_read32(uint32_t dev, unsigned int reg);
uint16_t pci_read16(uint32_t dev, unsigned int reg);
uint8_t pci_read8(uint32_t dev, unsigned int reg);
void pci_write32(uint32_t dev, unsigned int reg, uint32_t v);
u64 pci_bar(uint32_t dev, unsigned int bar);
void pci_enable(uint32_t dev);

/* virtio.c: the modern PCI transport, split queues, polled */
#define QUEUE_SIZE	64

struct queue {
	uint16_t index;
	/* of the ring, and of descriptors used so far */
	uint16_t avail_idx;
	uint16_t used_idx;
	uint16_t next_desc;
	u64 notify;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

struct virtio {
	uint32_t pci;
	u64 common;
	u64 notify;
	uint32_t notify_multiplier;
	u64 isr;
	u64 config;
	struct span shm;
	u64 features;
};

/* one part of a request; parts that the device writes come last */
struct part {
	void *data;
	uint32_t len;
	bool write;
};

bool virtio_find(struct virtio *v, unsigned int id);
/* reset it, and accept those of wanted that it offers */
void virtio_start(struct virtio *v, u64 wanted);
void virtio_queue(struct virtio *v, struct queue *q, unsigned int index);
void virtio_ready(struct virtio *v);
void virtio_submit(struct queue *q, const struct part *parts, unsigned int nr);
/* the next used element, or -1 if there is none yet */
int virtio_used(struct queue *q);

/* mem.c */
#define MAX_SPANS	32

/* code that is run before and after a crash, in boot memory; two pages */
#define CODE_ADDR	(16 * MIB)
/* where disk requests in flight read to */
#define IO_ADDR		(24 * MIB)
#define IO_LEN		(1 * MIB)

struct map {
	uint32_t nr;
	uint32_t unused;
	struct span spans[MAX_SPANS];
};

/* all that firmware says is RAM; the same without what this guest uses */
extern struct map ram, usable;

void mem_init(u64 multiboot_info);
/* make [addr, addr + len) accessible at its own address */
void mem_map(u64 addr, u64 len);
u64 map_size(const struct map *m);
void map_add(struct map *m, u64 addr, u64 end);
void map_remove(struct map *m, u64 addr, u64 end);
u64 pattern(u64 addr, u64 seed);
/* one word every stride bytes of [addr, addr + len) */
void mem_fill(u64 addr, u64 len, u64 seed, u64 stride);
/* how many pages of [addr, addr + len), now at where, are not as filled */
u64 mem_wrong(u64 addr, u64 len, u64 where, u64 seed, u64 stride, u64 *first);

/*
 * What comes to the next boot with the dump: an ELF note, for the device takes
 * one, whatever it says.
 */
struct crashed {
	uint32_t namesz;
	uint32_t descsz;
	uint32_t type;
	char name[8];
	uint32_t unused_desc;
	u64 magic;
	u64 seed;
	u64 stride;
	uint32_t generation;
	uint32_t code;
	uint32_t io;
	uint32_t unused;
	struct span image;
	/* the instruction that crashes is in there; empty if none is known */
	struct span rip;
	u64 regs[16];
	struct map filled;
};

extern struct crashed crashed;

/* fadump.c: the device; false: there is no such device */
bool fadump_init(u64 wanted);
uint32_t fadump_state(void);
u64 fadump_trigger_address(void);
u64 fadump_features(void);
/*
 * Register with so many bytes of boot memory, 0 for what the device chooses.
 * Its destination: host, guest, or mixed
 */
void fadump_register(const char *destination, u64 boot_mem);
void fadump_request(unsigned int type);
/* registers for a debugger to start from, as a kernel that panics gives them */
void fadump_crash_note(const u64 *regs);
/* until config space has changed */
void fadump_wait_event(void);

/* dump.c: what the device says of a dump */
/* read the descriptor in all ways there are, and check it */
void dump_read(void);
void dump_check_map(void);
void dump_check_regs(void);
/* check every page of every range that the crashed guest had filled */
void dump_verify(void);
void dump_check_code(void);
void dump_check_io(void);
void dump_discard(void);

/* blk.c: just enough of virtio-blk to have requests in flight */
void blk_submit(void);
void blk_check(void);
/* the disk's first IO_LEN bytes are 64-bit numbers: this one at that offset */
u64 blk_content(u64 offset);

/* dog.c: watchdogs, set to act after twice that time */
void dog_i6300esb(unsigned int ms);
void dog_tco(void);

#endif
