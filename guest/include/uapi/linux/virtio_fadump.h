/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * virtio-fadump: firmware-assisted dump for virtual machines.
 *
 * The one definition of the interface between device and driver; QEMU, the
 * Linux driver and every tool include this file. The normative text is
 * docs/specs/virtio-fadump.rst.
 *
 * All fields are little-endian and naturally aligned. Sizes and addresses are
 * bytes, addresses are guest-physical unless a comment says otherwise.
 * Padding and reserved fields are zero: whoever writes them writes zero,
 * whoever reads a request with a non-zero one refuses it.
 */
#ifndef _UAPI_LINUX_VIRTIO_FADUMP_H
#define _UAPI_LINUX_VIRTIO_FADUMP_H

#include <linux/types.h>
#include <linux/virtio_types.h>

/*
 * Device id. PCI can express ids up to 63 only (0x1040 + id <= 0x107f), and
 * 60 to 63 are in use in practice.
 */
#ifndef VIRTIO_ID_FADUMP
#define VIRTIO_ID_FADUMP			59
#endif

/* Feature bits */
/* What is set aside stays in host memory and is read through the window. */
#define VIRTIO_FADUMP_F_HOST_MEM		0
/* The driver may name destinations in guest RAM. */
#define VIRTIO_FADUMP_F_GUEST_MEM		1
/* The device confines the next boot to boot memory. */
#define VIRTIO_FADUMP_F_CONFINE			2
/* The driver may say which content of a dump it needs no more. */
#define VIRTIO_FADUMP_F_DISCARD			3

/* The only virtqueue */
#define VIRTIO_FADUMP_VQ_CTRL			0

/*
 * Shared memory region that is the window where virtio_fadump_config.window_addr
 * is 0.
 */
#define VIRTIO_FADUMP_SHM_ID_WINDOW		0

/*
 * What the interface's addresses are multiples of: the largest page that a
 * kernel may have. The end of RAM need not be one.
 */
#define VIRTIO_FADUMP_ALIGN			(64 * 1024)
/* What every range of RAM is a multiple of. */
#define VIRTIO_FADUMP_PAGE_SIZE			4096

/* virtio_fadump_config.state */
#define VIRTIO_FADUMP_STATE_IDLE		0
#define VIRTIO_FADUMP_STATE_REGISTERED		1
#define VIRTIO_FADUMP_STATE_DUMP_AVAILABLE	2

/* virtio_fadump_config.flags */
/* the host is reading the dump: RELEASE and DISCARD are refused with BUSY */
#define VIRTIO_FADUMP_CONFIG_F_READING		(1U << 0)

/*
 * virtio_fadump_config.trigger: a single 32-bit write acts at once, with no
 * lock, no allocation and no queue, so that it may come from NMI context.
 * Reads give 0. Any other value, and any value in a state that it does not
 * name, has no effect.
 */
/*
 * REGISTERED: capture with cause PANIC, then reset. DUMP_AVAILABLE: keep the
 * dump that is held, count this one in nr_lost, reset. Does not return.
 */
#define VIRTIO_FADUMP_TRIGGER_PANIC		1
/*
 * REGISTERED: a crash kernel of the guest's own takes over. From now on until the
 * next reset of the machine a reset by the guest is no crash, and a reset of the
 * device does not end the registration; what is known to be a death (watchdog,
 * CPU fault, panic device, TRIGGER_PANIC, operator) is captured as ever.
 */
#define VIRTIO_FADUMP_TRIGGER_YIELD		2
/* REGISTERED: as the request UNREGISTER */
#define VIRTIO_FADUMP_TRIGGER_UNREGISTER	3
/*
 * REGISTERED: as things are now, a crash will be yielded, to a crash kernel that has
 * been loaded; or no longer. For the operator to see, it changes nothing else. A
 * registration begins with WONT_YIELD.
 */
#define VIRTIO_FADUMP_TRIGGER_WILL_YIELD	4
#define VIRTIO_FADUMP_TRIGGER_WONT_YIELD	5

/*
 * A change of state, flags or the descriptor that the driver did not ask for
 * (the host released the dump, began or ended to read it) is told by a
 * configuration change notification.
 */
struct virtio_fadump_config {
	/* VIRTIO_FADUMP_STATE_*; read-only */
	__le32 state;
	/* VIRTIO_FADUMP_CONFIG_F_*; read-only */
	__le32 flags;
	/* most regions that one REGISTER may name */
	__le32 max_regions;
	/* VIRTIO_FADUMP_TRIGGER_*; write-only */
	__le32 trigger;
	/*
	 * bytes of boot memory, all of its ranges: what is registered, or what a
	 * driver gets that asks for no size of its own
	 */
	__le64 boot_mem;
	/* the largest size that GET_BOOT_MEM grants */
	__le64 boot_mem_max;
	/*
	 * memory block: preserved memory begins and ends at multiples of this, a
	 * power of two, for a guest can add no less to its RAM
	 */
	__le64 block_size;
	/* addr and len of DISCARD are multiples of this, a power of two */
	__le64 discard_size;
	/* bytes of the descriptor now held, 0 if none */
	__le64 desc_size;
	/* upper bound of desc_size on this machine */
	__le64 desc_size_max;
	/*
	 * where the window lies while a dump is held; a multiple of
	 * VIRTIO_FADUMP_ALIGN. 0: it is shared memory region
	 * VIRTIO_FADUMP_SHM_ID_WINDOW
	 */
	__le64 window_addr;
	/* bytes of the window */
	__le64 window_len;
	/* TRIGGER_PANIC writes seen while the dump now held was held */
	__le32 nr_lost;
	/* confined boots since the capture that reached an operating system */
	__le32 nr_boots;
};

/* ------------------------------------------------------------------ */
/* Control queue                                                      */
/*
 * One request a buffer: device-readable struct virtio_fadump_req, with its
 * trailing data, then device-writable struct virtio_fadump_resp, with room for
 * its trailing data.
 */

/* virtio_fadump_req.type */
/* data: struct virtio_fadump_register; IDLE only */
#define VIRTIO_FADUMP_REQ_REGISTER		1
/* no data; REGISTERED only */
#define VIRTIO_FADUMP_REQ_UNREGISTER		2
/* no data; DUMP_AVAILABLE only: drop the dump, lift the confinement */
#define VIRTIO_FADUMP_REQ_RELEASE		3
/*
 * data: struct virtio_fadump_discard; DUMP_AVAILABLE only, needs F_DISCARD: the
 * device may free what the window holds of it, which reads as zero from then on.
 */
#define VIRTIO_FADUMP_REQ_DISCARD		4
/*
 * data: struct virtio_fadump_get_boot_mem; answer: struct virtio_fadump_boot_mem;
 * any state
 */
#define VIRTIO_FADUMP_REQ_GET_BOOT_MEM		5

struct virtio_fadump_req {
	/* VIRTIO_FADUMP_REQ_* */
	__le32 type;
	/* bytes of the whole request, this header included */
	__le32 size;
};

/* virtio_fadump_resp.status; all but OK leave the device as it was */
#define VIRTIO_FADUMP_S_OK			0
/* the request's size or padding is wrong (a region's: BAD_REGION) */
#define VIRTIO_FADUMP_S_MALFORMED		1
/* unknown request, or unknown region type; detail: the type */
#define VIRTIO_FADUMP_S_UNSUPPORTED		2
/* REGISTER: a dump is held; RELEASE, DISCARD: the host is reading it, try later */
#define VIRTIO_FADUMP_S_BUSY			3
/* already registered */
#define VIRTIO_FADUMP_S_EXISTS			4
/* nothing registered, or no dump held */
#define VIRTIO_FADUMP_S_NONE			5
/* a region is bad; detail: its index */
#define VIRTIO_FADUMP_S_BAD_REGION		6
/* more regions than virtio_fadump_config.max_regions; detail: that limit */
#define VIRTIO_FADUMP_S_TOO_MANY		7
/* the answer does not fit; detail: bytes that the buffer must have in all */
#define VIRTIO_FADUMP_S_NO_SPACE		8
/* a required region type is missing; detail: the type */
#define VIRTIO_FADUMP_S_MISSING_REGION		9
/* the device cannot do it at present */
#define VIRTIO_FADUMP_S_FAILED			10

struct virtio_fadump_resp {
	/* VIRTIO_FADUMP_S_* */
	__le32 status;
	/* bytes of trailing data that follow */
	__le32 size;
	/* see the status; 0 if it says nothing */
	__le64 detail;
};

struct virtio_fadump_get_boot_mem {
	struct virtio_fadump_req hdr;
	/*
	 * bytes that the driver wants the next boot to have; 0: what the device
	 * would choose. The device rounds up, and grants its limit at most.
	 */
	__le64 size;
};

struct virtio_fadump_extent {
	__le64 addr;
	__le64 len;
};

/*
 * Boot memory for one size: RAM that is set aside at a capture, and that the next
 * boot has, all of it. Ascending, no two overlap or touch. The same for the same
 * size as long as the machine runs.
 */
struct virtio_fadump_boot_mem {
	struct virtio_fadump_resp hdr;
	/* what is granted; what REGISTER says for these ranges */
	__le64 size;
	__le32 nr_ranges;
	__le32 reserved;
	/* addr is a multiple of VIRTIO_FADUMP_ALIGN, len of PAGE_SIZE */
	struct virtio_fadump_extent ranges[];
};

/* virtio_fadump_region.type */
/* registers of all vCPUs; src, len and dst are 0; required */
#define VIRTIO_FADUMP_REGION_CPU_STATE		1
/*
 * boot memory [src, src + len), within one range of GET_BOOT_MEM's answer. All of
 * these regions together cover exactly those ranges, and no two overlap. src is a
 * multiple of VIRTIO_FADUMP_ALIGN, and so is len unless it ends the range.
 */
#define VIRTIO_FADUMP_REGION_BOOT_MEM		2
/* the guest's VMCOREINFO ELF note, header included; dst is 0; optional */
#define VIRTIO_FADUMP_REGION_VMCOREINFO		3
/*
 * room for one ELF note, header included; dst is 0; optional. A kernel that panics
 * writes an NT_PRSTATUS note there before TRIGGER_PANIC: registers as it would
 * have a debugger see them. Zero until then.
 */
#define VIRTIO_FADUMP_REGION_CRASH_NOTE		4

/* dst of a BOOT_MEM region: host memory, needs F_HOST_MEM */
#define VIRTIO_FADUMP_DST_HOST			(~(__u64)0)
/*
 * Any other dst, with F_GUEST_MEM: guest-physical address, a multiple of
 * VIRTIO_FADUMP_ALIGN, of RAM outside of boot memory that takes [src, src + len)
 * at the capture. What is there is lost, so the dump says that nothing is held of
 * it (RANGE_F_DESTINATION).
 */

/* Longest VMCOREINFO and CRASH_NOTE regions that a device must take, bytes. */
#define VIRTIO_FADUMP_VMCOREINFO_MAX		(64 * 1024)
#define VIRTIO_FADUMP_CRASH_NOTE_MAX		4096

struct virtio_fadump_region {
	/* VIRTIO_FADUMP_REGION_* */
	__le32 type;
	__le32 reserved;
	__le64 src;
	__le64 len;
	/* guest-physical, needs F_GUEST_MEM; or VIRTIO_FADUMP_DST_HOST */
	__le64 dst;
};

struct virtio_fadump_register {
	struct virtio_fadump_req hdr;
	__le32 nr_regions;
	__le32 reserved;
	/* virtio_fadump_boot_mem.size of the ranges that BOOT_MEM regions cover */
	__le64 boot_mem;
	struct virtio_fadump_region regions[];
};

struct virtio_fadump_discard {
	struct virtio_fadump_req hdr;
	/* where the crashed kernel had it; multiples of discard_size */
	__le64 addr;
	__le64 len;
};

/* ------------------------------------------------------------------ */
/* Dump descriptor                                                    */
/*
 * What a capture leaves behind, at the start of the window: header, vCPU table,
 * range table, ELF notes, each where its offset says, offsets from the header's
 * start. Tables lie at multiples of 8, notes at multiples of 4. A reader takes
 * element sizes from the header, so that elements may grow at their end.
 */
#define VIRTIO_FADUMP_DESC_MAGIC		"FADUMPKV"	/* 8 bytes, no NUL */
/* A reader refuses a newer one. */
#define VIRTIO_FADUMP_DESC_VERSION		1

/* virtio_fadump_desc.cause */
#define VIRTIO_FADUMP_CAUSE_UNKNOWN		0
/* the guest kernel wrote TRIGGER_PANIC */
#define VIRTIO_FADUMP_CAUSE_PANIC		1
#define VIRTIO_FADUMP_CAUSE_WATCHDOG		2
/* a fault that a vCPU cannot go on from (x86: triple fault) */
#define VIRTIO_FADUMP_CAUSE_CPU_FAULT		3
/* a reset by the guest that nothing announced */
#define VIRTIO_FADUMP_CAUSE_GUEST_RESET		4
/* the operator asked the host to capture */
#define VIRTIO_FADUMP_CAUSE_OPERATOR		5
/* a reset by the host, where the host is set up to capture those */
#define VIRTIO_FADUMP_CAUSE_HOST_RESET		6
/* the guest kernel reported a panic through a panic device */
#define VIRTIO_FADUMP_CAUSE_PANIC_DEVICE	7

/* virtio_fadump_desc.crash_cpu: no vCPU caused it */
#define VIRTIO_FADUMP_CPU_NONE			(~(__u32)0)

/* virtio_fadump_desc.flags: class of the crashed kernel's notes */
#define VIRTIO_FADUMP_DESC_F_ELF64		(1U << 0)

/* Part of the descriptor; size 0: there is none, offset 0 then. */
struct virtio_fadump_part {
	__le64 off;
	__le64 size;
};

struct virtio_fadump_desc {
	__u8 magic[8];
	/* VIRTIO_FADUMP_DESC_VERSION */
	__le32 version;
	/* bytes of this header */
	__le32 hdr_size;
	/* bytes of the whole descriptor */
	__le64 total_size;
	/* CRC-32 (IEEE 802.3, as zlib's crc32()) of all, this field being 0 */
	__le32 checksum;
	/* VIRTIO_FADUMP_DESC_F_* */
	__le32 flags;
	/* RFC 4122 UUID, in the order of its text form */
	__u8 dump_id[16];
	/* VIRTIO_FADUMP_CAUSE_* */
	__le32 cause;
	/* index in the vCPU table, or VIRTIO_FADUMP_CPU_NONE */
	__le32 crash_cpu;
	/* of the capture's start, ns since 1970-01-01 UTC */
	__le64 time_ns;
	/* how long the capture took, ns */
	__le64 capture_ns;
	/* ELF e_machine of the notes */
	__le32 elf_machine;
	__le32 nr_vcpus;
	__le32 vcpu_size;
	__le32 nr_ranges;
	__le32 range_size;
	__le32 reserved;
	__le64 vcpus_off;
	__le64 ranges_off;
	/* one ELF note each, if it was registered and was one at the capture */
	struct virtio_fadump_part vmcoreinfo;
	/* what the guest wrote to CRASH_NOTE; cause PANIC only */
	struct virtio_fadump_part crash_note;
	/* bytes of boot memory at the capture: what this boot has as RAM */
	__le64 boot_mem;
};

/* virtio_fadump_vcpu.flags */
/* the accelerator could not give this vCPU's registers; its notes are zero */
#define VIRTIO_FADUMP_VCPU_F_REGS_LOST		(1U << 0)
/* it was powered off, or had not been started */
#define VIRTIO_FADUMP_VCPU_F_OFF		(1U << 1)
/* whether it was off cannot be told */
#define VIRTIO_FADUMP_VCPU_F_POWER_UNKNOWN	(1U << 2)

/* Ascending by the order in which the machine counts its vCPUs. */
struct virtio_fadump_vcpu {
	/* the architecture's id (x86: APIC id, Arm: MPIDR affinity) */
	__le64 arch_id;
	/* VIRTIO_FADUMP_VCPU_F_* */
	__le32 flags;
	__le32 reserved;
	/* NT_PRSTATUS, and other notes of the architecture's after it */
	struct virtio_fadump_part notes;
	/* the hypervisor's own note of the vCPU ("QEMU"), if it has one */
	struct virtio_fadump_part hv_note;
};

/* virtio_fadump_range.where: where the content now lies */
/* at addr itself */
#define VIRTIO_FADUMP_WHERE_IN_PLACE		1
/* in guest RAM, at dest */
#define VIRTIO_FADUMP_WHERE_GUEST		2
/* in the window, at offset dest, which is addr modulo VIRTIO_FADUMP_ALIGN */
#define VIRTIO_FADUMP_WHERE_WINDOW		3

/* virtio_fadump_range.flags */
/* content could not be saved; held says how many bytes from the start are good */
#define VIRTIO_FADUMP_RANGE_F_ERROR		(1U << 0)
/*
 * hot-pluggable memory that another interface of the machine (ACPI, virtio-mem)
 * gives back after the release; the driver must not add it
 */
#define VIRTIO_FADUMP_RANGE_F_HOTPLUG		(1U << 1)
/* this boot has RAM at addr */
#define VIRTIO_FADUMP_RANGE_F_BOOT_MEM		(1U << 2)
/*
 * boot memory was set aside here: of what the crashed kernel had at addr nothing
 * is held, as its driver wanted (where is IN_PLACE, held is 0)
 */
#define VIRTIO_FADUMP_RANGE_F_DESTINATION	(1U << 3)
/*
 * firmware kept this from the crashed kernel (x86: SMRAM), and nothing is held of
 * it (where is IN_PLACE, held is 0). It reads as zero, and is the guest's after the
 * release as the ranges beside it are.
 */
#define VIRTIO_FADUMP_RANGE_F_FIRMWARE		(1U << 4)

/* How boot memory was set aside, virtio_fadump_range.method */
#define VIRTIO_FADUMP_METHOD_NONE		0
#define VIRTIO_FADUMP_METHOD_COPIED		1
#define VIRTIO_FADUMP_METHOD_MOVED		2
#define VIRTIO_FADUMP_METHOD_SWAPPED		3

/* virtio_fadump_range.node: not known */
#define VIRTIO_FADUMP_NODE_NONE			(~(__u32)0)

/* RAM of the crashed machine, ascending, no two overlap, page aligned. */
struct virtio_fadump_range {
	/* where the crashed kernel had it */
	__le64 addr;
	__le64 len;
	/* see VIRTIO_FADUMP_WHERE_*; 0 for IN_PLACE */
	__le64 dest;
	/* good bytes from addr on */
	__le64 held;
	/* VIRTIO_FADUMP_WHERE_* */
	__le32 where;
	/* VIRTIO_FADUMP_RANGE_F_* */
	__le32 flags;
	/* VIRTIO_FADUMP_METHOD_* */
	__le32 method;
	/* the NUMA node that it is on, or VIRTIO_FADUMP_NODE_NONE */
	__le32 node;
};

#endif /* _UAPI_LINUX_VIRTIO_FADUMP_H */
