/*
 * QTest helpers for fadump-dev
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The cases are in fadump-SUBJECT-test.c, all linked into one program. A new
 * file of cases
 *
 * - includes qemu/osdep.h, then this header, which has what most need;
 * - keeps its cases and their helpers static, and ends with
 *   void fadump_add_SUBJECT_tests(void), which adds them with add_test(), or
 *   with qtest_add_func("fadump/...") where a case starts its own machines;
 * - has that function declared at the end of this header, and called in
 *   main() of fadump-test.c;
 * - is listed in fadump_test_files of tests/qtest/meson.build.
 *
 * A helper that a second file needs moves to the fadump-lib*.c that it fits.
 * All of them fail the test, and do not return, where what they do fails.
 */

#ifndef FADUMP_LIB_H
#define FADUMP_LIB_H

#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "libqtest.h"
#include "libqos/fw_cfg.h"
#include "libqos/libqos-pc.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_fadump.h"

/* the device's slot on bus 0 */
#define SLOT 4
/* where the machine has no place for the window */
#define WINDOW_BAR 4
#define FW_CFG_DESC "etc/fadump-dump"
/* FADUMP_TIMEOUT_SCALE times as long, for a QEMU that is slow */
#define TIMEOUT_US (INT64_C(120) * timeout_scale() * G_USEC_PER_SEC)

/* boot memory of the machines, unless Fadump.ask says otherwise */
#define B (128 * MiB)
#define HOST VIRTIO_FADUMP_DST_HOST
#define MAX_REGIONS 512

/* The guest's notes, in boot memory, clear of what libqos allocates. */
#define VMCOREINFO_ADDR (40 * MiB + 0x124)
#define CRASH_NOTE_ADDR (41 * MiB + 4)

/* ROM until firmware turns on shadow RAM; no machine here but one has VGA. */
#define ROM_START 0xc0000
#define ROM_END (1 * MiB)
#define VGA_START 0xa0000

/* Where cs and eip lie in the NT_PRSTATUS of a vCPU in real mode. */
#define PRSTATUS_PID 24
#define PRSTATUS_EIP 120
#define PRSTATUS_CS 124

typedef struct Span {
    uint64_t base, size;
} Span;

/* A machine: its RAM, and what of it must be boot memory. */
typedef struct Machine {
    const char *name;
    const char *opts;
    Span ram[3];
    Span boot[4];
    /* the first 64 MiB are on node 0, the rest is on node 1 */
    bool numa;
    /* how boot memory is set aside, if it is not moved */
    uint32_t method;
    /* DIMMs, which ACPI tells the guest of, on dimm_node() of their address */
    Span dimm[9];
} Machine;

#define NR_MACHINES 17
extern const Machine machines[NR_MACHINES];

#define PC_1G (&machines[0])
#define Q35_1G (&machines[1])
#define PC_3G (&machines[2])
#define Q35_3G (&machines[3])
#define PC_6G (&machines[5])
#define PC_2000M (&machines[7])
#define Q35_COPY (&machines[9])
#define Q35_SWAP (&machines[10])
#define Q35_MEMFD (&machines[11])
#define Q35_BAR_SWAP (&machines[16])

static inline uint32_t dimm_node(uint64_t base)
{
    return base / (512 * MiB) % 2 ? 0 : 1;
}

/* A machine that runs, with the device, and the events that it has sent */
typedef struct Fadump {
    const Machine *m;
    QOSState *qs;
    QTestState *qts;
    QFWCFG *fw_cfg;
    QVirtioPCIDevice *dev;
    QVirtQueue *vq;
    /* where the window lies, and its size */
    uint64_t window, window_len;
    /* boot memory that REGISTER asks for, 0 for the default */
    uint64_t ask;
    /* for files of the test, removed by stop() */
    char *dir;
    unsigned resets;
    unsigned crashloaded;
    unsigned panicked;
    unsigned registered;
    unsigned captured;
    unsigned released;
    /* how many resets there had been then */
    unsigned resets_before;
    unsigned failed;
    unsigned save_ended;
    /* of the last event that has one: cause, reason or status */
    char why[32];
    char dump_id[40];
    /* why the last capture was not of all RAM, though that was wanted */
    char full_error[80];
    bool reset_by_guest;
} Fadump;

/* A part of RAM that the test expects in a descriptor, or has found there. */
typedef struct Piece {
    uint64_t base, size;
    bool boot;
    uint64_t dest;
} Piece;

/* ------------------------------------------------------------------ */
/* fadump-lib.c: the machine, the device and its config space         */

/* Add the case fadump/@name/(name of @m), which is given @m. */
void add_test(const char *name, const Machine *m,
              void (*fn)(const void *opaque));

/* Start @m with @more options; those after a comma are the device's. */
Fadump *start(const Machine *m, const char *more);
void stop(Fadump *f);
Fadump *start_and_probe(const Machine *m, const char *more);

/* Bring the device up as after a boot, with all features or @features. */
void probe(Fadump *f);
void probe_features(Fadump *f, uint64_t features);
/* The steps of that, for a test that stops half-way */
void find_device(Fadump *f);
void find_window(Fadump *f);

int timeout_scale(void);
/* Let what was asked for happen: resets, events. */
void settle(Fadump *f);
/* Wait for one reset more than @before. */
void wait_reset(Fadump *f, unsigned before);
void system_reset(Fadump *f);
void guest_reset(Fadump *f);

#define CONFIG_OFF(field) offsetof(struct virtio_fadump_config, field)
#define CONFIG_L(f, field) \
    qvirtio_config_readl(&(f)->dev->vdev, CONFIG_OFF(field))
#define CONFIG_Q(f, field) \
    qvirtio_config_readq(&(f)->dev->vdev, CONFIG_OFF(field))

#define assert_state(f, name) \
    g_assert_cmpint(CONFIG_L(f, state), ==, VIRTIO_FADUMP_STATE_##name)

void write_config(Fadump *f, uint64_t off, const void *buf, size_t len);
void trigger(Fadump *f, uint32_t value);
/* and wait for the reset */
void trigger_panic(Fadump *f);
/* A crash that must be captured, and the driver of the next boot */
void crash_and_probe(Fadump *f);

/* ------------------------------------------------------------------ */
/* fadump-lib-request.c: requests, as a driver sends them             */

#define ALL_FEATURES \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_FADUMP_F_HOST_MEM | \
     1ull << VIRTIO_FADUMP_F_GUEST_MEM | 1ull << VIRTIO_FADUMP_F_CONFINE | \
     1ull << VIRTIO_FADUMP_F_DISCARD)

/* Regions of a REGISTER request, in host byte order */
#define CPU_STATE { VIRTIO_FADUMP_REGION_CPU_STATE }
#define BOOT_MEM(src, len) \
    { VIRTIO_FADUMP_REGION_BOOT_MEM, 0, (src), (len), HOST }
#define BOOT_MEM_TO(src, len, dst) \
    { VIRTIO_FADUMP_REGION_BOOT_MEM, 0, (src), (len), (dst) }
#define VMCOREINFO(src, len) \
    { VIRTIO_FADUMP_REGION_VMCOREINFO, 0, (src), (len) }
#define CRASH_NOTE(src, len) \
    { VIRTIO_FADUMP_REGION_CRASH_NOTE, 0, (src), (len) }

/* All requests return VIRTIO_FADUMP_S_*, and fill in @detail if it is asked. */
uint32_t request_full(Fadump *f, const void *req, size_t len,
                      void *answer, size_t room, size_t cut,
                      uint64_t *detail);
/* One that is a header alone */
uint32_t request(Fadump *f, uint32_t type);

struct virtio_fadump_boot_mem *
get_boot_mem(Fadump *f, uint64_t size, size_t room, size_t cut,
             uint32_t *status, uint64_t *detail);
struct virtio_fadump_boot_mem *ask_boot_mem(Fadump *f, uint64_t size);

struct virtio_fadump_register *
make_register(const struct virtio_fadump_region *regions, uint32_t n,
              uint64_t boot_mem, size_t *size);
uint32_t do_register(Fadump *f, const struct virtio_fadump_region *regions,
                     uint32_t n, uint64_t *detail);
/* As a kernel does at boot, with both notes */
uint32_t register_all(Fadump *f);

/* The notes that it has, up to 4096 bytes; their size */
size_t vmcoreinfo_note(uint8_t *buf);
size_t crash_note(uint8_t *buf);

uint32_t request_discard(Fadump *f, uint64_t addr, uint64_t len);

#define assert_discard(f, addr, len, expected) \
    g_assert_cmpint(request_discard(f, addr, len), ==, \
                    VIRTIO_FADUMP_S_##expected)
#define assert_request(f, name, expected) \
    g_assert_cmpint(request(f, VIRTIO_FADUMP_REQ_##name), ==, \
                    VIRTIO_FADUMP_S_##expected)
#define assert_register(f, expected) \
    g_assert_cmpint(register_all(f), ==, VIRTIO_FADUMP_S_##expected)
/* Whatever was refused, the device is IDLE and takes a good registration. */
void assert_unharmed(Fadump *f);

/* ------------------------------------------------------------------ */
/* fadump-lib-host.c: what the host does, and what kills a guest      */

/* Options of start() for the two below */
#define WATCHDOG " -device ib700 -action watchdog=reset"
#define PVPANIC " -device pvpanic -action panic=none"

/* Wait until @count, of @f, is @expected; the last event says @why. */
void wait_count(Fadump *f, const unsigned *count, unsigned expected,
                const char *why);
void expire_watchdog(Fadump *f);
void write_pvpanic(Fadump *f);
void qmp_trigger(Fadump *f);
void assert_qmp_refused(Fadump *f, const char *command);
/* A boolean of query-fadump */
bool query_flag(Fadump *f, const char *name);
bool query_early(Fadump *f);

void assert_save_refused(Fadump *f, const char *protocol);
/* How large the dump is of a save whose status must be @status */
uint64_t save_total(Fadump *f, const char *status);

/* A crash that must be captured, whatever is the matter */
void crash(Fadump *f);
void release(Fadump *f);

/* start_and_probe() with fadump-faults.c preloaded, and told @faults */
Fadump *start_faulty(const Machine *m, const char *faults, const char *more);

/* A command of the human monitor; and one that says nothing if all is well */
char *hmp(Fadump *f, const char *command);
void assert_hmp(Fadump *f, const char *command);
/* Options for a disk that has room for snapshots, the caller unlinks @image */
char *snapshot_disk(char **image);

/* fadump-save */
void qmp_save(Fadump *f, const char *protocol);
void pass_fd(Fadump *f, int fd, const char *name);
/* one that ends when it is cancelled; @ended: the saves that then have */
int save_to_pipe(Fadump *f);
void cancel_save(Fadump *f, unsigned ended, int fd);

/* What it writes of the dump: a file that is in memory alone */
int save_core(Fadump *f);
void assert_same_core(int a, int b);
/* All of fill_ram() is there; or in what save_core() would write. */
void check_whole_core(Fadump *f, int core);
void check_whole_dump(Fadump *f);
/* @addr of the crashed RAM was set aside by @method. */
void check_method(const GByteArray *desc, uint64_t addr, uint32_t method);
/* Give back the dump that is held; then all is as ever. */
void check_release(Fadump *f);

/* ------------------------------------------------------------------ */
/* fadump-lib-request.c, too: another virtio device, as a driver has it */

typedef struct Other {
    QVirtioPCIDevice *pci;
    QVirtQueue *vq;
} Other;

/* The one in @slot, with those of @features that it has, and its first queue */
Other start_other(Fadump *f, unsigned slot, uint64_t features);
void stop_other(Fadump *f, Other *o);

/* ------------------------------------------------------------------ */
/* fadump-lib-migrate.c: migration                                    */

/* Wait until the migration is at @goal: completed, failed. */
void wait_migration(Fadump *f, const char *goal);
void save_to(Fadump *f, const char *path);
void adopt_device(Fadump *f, const Fadump *old);
/* Lists of capabilities end with NULL. */
void use_capabilities(Fadump *f, const char *const *names);
Fadump *start_incoming(const Machine *m, const char *uri,
                       const char *const *capabilities);
Fadump *load_with(const Machine *m, const char *path, const Fadump *old,
                  const char *goal, const char *const *capabilities);
Fadump *load_from(const Machine *m, const char *path, const Fadump *old,
                  const char *goal);

void migrate_to(Fadump *f, const char *uri);
void limit_bandwidth(Fadump *f, uint64_t bytes);
/* Wait until so many pages of RAM have been sent. */
void wait_pages(Fadump *f, int64_t expected);
/* Wait until RAM is being sent, and what goes ahead of it has been. */
void wait_sent(Fadump *f);
/* A postcopy migration that goes on slowly, to the machine that is returned */
Fadump *start_postcopy(const Machine *m, Fadump *src, const char *const *caps);
/* that one runs now, and gets the rest */
void finish_postcopy(Fadump *src, Fadump *dst);

char *shared_ram(const char *size, int *fd);

/* ------------------------------------------------------------------ */
/* fadump-lib-stream.c: the device's state in a migration stream      */

/* What a stream can say of the device, in the order that it has there. */
typedef struct QEMU_PACKED Stream {
    uint64_t boot_mem, boot_mem_max, window_addr;
    uint32_t life;
    uint64_t boot_size;
    uint64_t vmcoreinfo, vmcoreinfo_size;
    uint64_t crash_note, crash_note_size;
    uint32_t nr_dests;
    uint64_t desc_size;
    uint8_t held_full, window_shown;
} Stream;

/* Behind it, and a dump's id */
typedef struct QEMU_PACKED StreamEnd {
    uint32_t nr_lost, nr_boots;
    uint32_t cause, cause_cpu;
    uint8_t driver_seen, notify_pending, will_yield;
    uint64_t boot_timer;
} StreamEnd;

/* States of the device as a stream has them */
enum {
    IDLE, ANNOUNCED, REGISTERED, YIELDED, DYING, DYING_REGISTERED, CAPTURING,
    HELD, HELD_SAVED, HELD_COUNTED, HELD_DYING,
};

uint8_t *find_bytes(char *buf, gsize len, const void *what, gsize size);
StreamEnd *stream_end(Stream *s);
Stream *find_registered(const Fadump *f, char *buf, gsize len);
void make_dying(const Fadump *f, const char *path);

/* ------------------------------------------------------------------ */
/* fadump-lib-firmware.c: what firmware is told of RAM                */

GArray *expected_pieces(const Machine *m, bool with_rom);
bool in_ranges(const Span *r, uint64_t addr);
GByteArray *read_fw_cfg(Fadump *f, const char *name);
void check_confinement(Fadump *f, bool confined);
uint64_t srat_hotpluggable(Fadump *f);

/* ------------------------------------------------------------------ */
/* fadump-lib-dump.c: what a dump holds                               */

/* A pattern in pages of all RAM, before a crash, and where it is after it */
void make_pattern(uint8_t *page, uint64_t addr);
bool next_sample(const Fadump *f, uint64_t *addr);
void fill_ram(Fadump *f);
void check_ram(Fadump *f, const GArray *pieces);
/* by the descriptor, counted by VIRTIO_FADUMP_WHERE_*; 0: overwritten */
void check_places(Fadump *f, const GByteArray *desc, unsigned count[4]);
/* in an ELF file of @size bytes */
void check_core(Fadump *f, const char *path, uint64_t size);
void save_memory(Fadump *f, uint64_t addr, uint64_t size, const char *path);
void assert_zero(Fadump *f, uint64_t addr, uint64_t size);

/* All of RAM's samples are in the dump, wherever it says that they are. */
void check_dump(Fadump *f);
/* Of query-fadump's dump */
int64_t dump_number(Fadump *f, const char *name);
/* All of boot memory but some ROM was. */
void assert_copied(Fadump *f);

GByteArray *read_descriptor(Fadump *f);
GArray *check_descriptor(Fadump *f, const GByteArray *desc, uint32_t cause);
void check_descriptor_copies(Fadump *f, const GByteArray *desc);
void check_vcpu_notes(const struct virtio_fadump_desc *h);
void check_notes(const struct virtio_fadump_desc *h);
void assert_part(const struct virtio_fadump_desc *h,
                 const struct virtio_fadump_part *part,
                 const uint8_t *note, size_t size);
void assert_no_part(const struct virtio_fadump_part *part);
/* Whether the window is in the guest's memory map now */
void assert_window(Fadump *f, bool shown);
/* No dump is held, and nothing is left of one. */
void check_released(Fadump *f);
uint64_t total_size(const Span *r);

/* ------------------------------------------------------------------ */
/* fadump-lib-memory.c: QEMU's memory, as the host has it             */

/* Of a part of QEMU's address space */
typedef struct Mapping {
    uint64_t rss;
    /* mappings that have this in their VmFlags */
    unsigned nr, nr_dontdump, nr_mergeable, nr_nohuge;
} Mapping;

Mapping look_at(Fadump *f, uint64_t start, uint64_t size);
/* The held area, in the window behind the descriptor */
Mapping look_at_held(Fadump *f);
/* Where a RAM block lies in QEMU's address space */
uint64_t block_address(Fadump *f, const char *name);
uint64_t held_address(Fadump *f);
/* Memory is given back when nothing has anything against it any more, */
void wait_given_back(Fadump *f);
/* and what stood in for RAM at a reset after that. */
void reset_until_given_back(Fadump *f);

/* ------------------------------------------------------------------ */
/* fadump-SUBJECT-test.c                                              */

void fadump_add_register_tests(void);
void fadump_add_queue_tests(void);
void fadump_add_capture_tests(void);
void fadump_add_cause_tests(void);
void fadump_add_host_tests(void);
void fadump_add_place_tests(void);
void fadump_add_migrate_tests(void);
void fadump_add_migrate_matrix_tests(void);
void fadump_add_midway_tests(void);
void fadump_add_numa_tests(void);
void fadump_add_stream_tests(void);
void fadump_add_bootmem_tests(void);
void fadump_add_property_tests(void);
void fadump_add_life_tests(void);
void fadump_add_guard_tests(void);
void fadump_add_hotplug_tests(void);
void fadump_add_smm_tests(void);
void fadump_add_relocate_tests(void);
void fadump_add_fault_tests(void);
void fadump_add_save_tests(void);
void fadump_add_live_tests(void);

#endif /* FADUMP_LIB_H */
