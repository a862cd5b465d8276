// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What to do is on the command line behind "--", as words. Options come first:
 *
 *	seed=N		what memory is filled with depends on this (1)
 *	stride=N	bytes from one word that is filled to the next (512)
 *	times=N		how often to crash (1): with so many crashes behind it, an
 *			idle boot says "finished" and stops
 *	to=WHERE	boot memory's destination: host (default), guest, mixed
 *	boot=N		MiB of boot memory to ask for (0: what the device chooses)
 *	dog=N		ms after which the watchdog expires, twice (10)
 *
 * Then actions. Those behind "idle" are for boots without a dump, those behind
 * "dump" for boots with one:
 *
 *	fill		fill all usable memory
 *	touch		the same, one word a page whatever stride says
 *	code		put code at CODE_ADDR and run it often
 *	io		disk requests in flight, that read into boot memory
 *	dog		set the watchdog, an i6300esb
 *	tco		the same with q35's own, whose time is 2.4 s
 *	register unregister
 *	trigger triple reset hang	end, with known registers
 *	smi		stay in SMM for ever, with SMI_EAX in eax (q35)
 *	remap		change the memory map while another vCPU reads the HPET
 *	desc		read the descriptor; the next ones need it
 *	map regs verify held-code held-io	check it against the dump
 *	stale		run what is at CODE_ADDR, and say what should have run
 *	scribble	overwrite all usable memory
 *	intact		that is still there
 *	disk		read from the disk, and check that
 *	discard		give a part of the dump back
 *	release event	release it; wait until config space has changed
 *	wait		for a byte on the second serial port
 *	busy		the same, with writes to memory meanwhile
 *	halt
 *
 * A boot counts crashes in CMOS; what the crashed guest knew comes to the next
 * one with the dump.
 */
#include <linux/virtio_fadump.h>

#include "bare.h"
#include "fadump.h"

#define CMOS_GENERATION	0x7e
#define SCRIBBLE_SEED	0xabcd
#define CODE_RUNS	1000

/* SeaBIOS has SMBASE there, and does not lock it */
#define SMI_HANDLER	0xa8000
#define SMI_EAX		0x5ec2e7ed
#define HOST_BRIDGE	0x80000000
#define SMRAM_DWORD	0x9c
#define SMRAM_OPEN	0x4a00
#define SMRAM_CLOSED	0x0a00
#define APM_CONTROL	0xb2

/* Where the second vCPU starts, what it says there, and how it is told to */
#define READER		0x7000
#define READER_STATE	(READER + 0x80)
#define READER_READS	1
#define READER_DIFFERS	2
#define APIC_ICR_LOW	((volatile uint32_t *)0xfee00300)
#define APIC_ICR_HIGH	((volatile uint32_t *)0xfee00310)
#define APIC_INIT	0x4500
#define APIC_STARTUP	0x4600
#define REMAPS		5000
#define HPET		0xfed00000

/* multiboot's */
#define MULTIBOOT_CMDLINE	16

static char cmdline[1024];
static u64 seed = 1, stride = 512, times = 1, boot_mem, dog = 10;
static const char *destination = "host";

/* mov $value, %eax; ret */
static void put_code(u64 addr, uint32_t value)
{
	volatile uint8_t *p = (volatile uint8_t *)addr;
	unsigned int i;

	p[0] = 0xb8;
	for (i = 0; i < 4; i++)
		p[1 + i] = value >> i * 8;
	p[5] = 0xc3;
}

static void do_code(void)
{
	uint32_t value = (seed & 0xff) << 16 | crashed.generation;
	unsigned int i, wrong = 0;

	/* after a crash it must differ from what the crashed guest had there */
	if (fadump_state() == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE)
		value |= 0x5000000;
	else
		crashed.code = value;
	put_code(CODE_ADDR, value);
	for (i = 0; i < CODE_RUNS; i++)
		wrong += run_at(CODE_ADDR) != value;
	say("ran code=%x wrong=%u", value, wrong);
}

/*
 * Without a write to that page: nothing but the capture itself has changed it.
 * A page of zeros is 2048 instructions that lead to the next page.
 */
static void do_stale(void)
{
	const volatile uint8_t *p = (void *)CODE_ADDR;
	uint32_t should = 0, ran;
	unsigned int i, nonzero = 0;

	for (i = 0; i < PAGE_SIZE; i++)
		nonzero += p[i] != 0;
	if (!nonzero) {
		should = 0x600d;
		put_code(CODE_ADDR + PAGE_SIZE, should);
	} else if (p[0] == 0xb8 && p[5] == 0xc3) {
		for (i = 0; i < 4; i++)
			should |= (uint32_t)p[1 + i] << i * 8;
	} else {
		die("what is at %llx?", CODE_ADDR);
	}
	ran = run_at(CODE_ADDR);
	say("stale should=%x ran=%x", should, ran);
}

static void do_end(char *how, char *how_end)
{
	uint32_t i;

	for (i = 0; i < 16; i++)
		crashed.regs[i] = (u64)i << 56 | 0x5afe00a5 | i << 8 |
				  (u64)crashed.generation << 32;
	/* what the instructions need */
	crashed.regs[3] = (uintptr_t)how;
	if (how == crash_trigger) {
		crashed.regs[7] = fadump_trigger_address();
		fadump_crash_note(crashed.regs);
	}
	if (how == crash_reset) {
		outb(0xcf9, 2);
		crashed.regs[0] = (crashed.regs[0] & ~0xffULL) | 6;
		crashed.regs[2] = (crashed.regs[2] & ~0xffffULL) | 0xcf9;
	}
	crashed.rip.addr = (uintptr_t)how;
	crashed.rip.len = how_end - how;
	memcpy(crash_regs, crashed.regs, sizeof(crashed.regs));
	say("end generation=%u", crashed.generation);
	crash(how);
}

static void do_smi(void)
{
	static const uint8_t code[] = {
		/* mov $SMI_EAX, %eax; jmp . */
		0x66, 0xb8, SMI_EAX & 0xff, SMI_EAX >> 8 & 0xff,
		SMI_EAX >> 16 & 0xff, SMI_EAX >> 24, 0xeb, 0xfe,
	};
	volatile uint8_t *p = (void *)SMI_HANDLER;
	unsigned int i;

	pci_write32(HOST_BRIDGE, SMRAM_DWORD, SMRAM_OPEN);
	for (i = 0; i < sizeof(code); i++)
		p[i] = code[i];
	pci_write32(HOST_BRIDGE, SMRAM_DWORD, SMRAM_CLOSED);
	say("smi");
	outb(APM_CONTROL, 0);
	die("no SMI");
}

static void do_remap(void)
{
	static const uint8_t code[] = {
		0x8c, 0xc8,		/* mov %cs, %ax */
		0x8e, 0xc0,		/* mov %ax, %es */
		/* a data segment of 4 GiB, which stays in real mode */
		0x2e, 0x0f, 0x01, 0x16, 0x50, 0x00,	/* lgdt %cs:0x50 */
		0x0f, 0x20, 0xc0,	/* mov %cr0, %eax */
		0x0c, 0x01,		/* or $1, %al */
		0x0f, 0x22, 0xc0,	/* mov %eax, %cr0 */
		0xbb, 0x08, 0x00,	/* mov $8, %bx */
		0x8e, 0xdb,		/* mov %bx, %ds */
		0x24, 0xfe,		/* and $~1, %al */
		0x0f, 0x22, 0xc0,	/* mov %eax, %cr0 */
		0x66, 0xbe, HPET & 0xff, HPET >> 8 & 0xff, HPET >> 16 & 0xff,
		HPET >> 24,		/* mov $HPET, %esi */
		0x67, 0x66, 0x8b, 0x1e,	/* mov (%esi), %ebx */
		/* movb $READER_READS, %es:0x80 */
		0x26, 0xc6, 0x06, 0x80, 0x00, READER_READS,
		0x67, 0x66, 0x3b, 0x1e,	/* cmp (%esi), %ebx */
		0x74, 0xfa,		/* je .-4 */
		/* movb $READER_DIFFERS, %es:0x80; cli; hlt */
		0x26, 0xc6, 0x06, 0x80, 0x00, READER_DIFFERS, 0xfa, 0xf4,
	};
	static const u64 gdt[] = { 0, 0x00cf92000000ffff,
				   15 | (READER + 0x40) << 16 };
	volatile uint8_t *state = (void *)READER_STATE;
	uint32_t dev = pci_find(PCI_VENDOR_VIRTIO, 0x1040 + VIRTIO_ID_FADUMP);
	uint32_t command = pci_read16(dev, 4);
	unsigned int i;

	memcpy((void *)READER, code, sizeof(code));
	memcpy((void *)(READER + 0x40), gdt, sizeof(gdt));
	*state = 0;
	*APIC_ICR_HIGH = 1 << 24;
	*APIC_ICR_LOW = APIC_INIT;
	*APIC_ICR_LOW = APIC_STARTUP | READER >> 12;
	while (*state != READER_READS)
		;
	/* its BARs come and go, and with them sections of the memory map */
	for (i = 0; i < REMAPS && *state == READER_READS; i++) {
		pci_write32(dev, 4, command & ~2);
		pci_write32(dev, 4, command | 2);
	}
	if (*state != READER_READS)
		die("the HPET differs after %u changes of the memory map", i);
	*APIC_ICR_LOW = APIC_INIT;
	say("remapped");
}

static void fill(u64 with)
{
	uint32_t i;

	for (i = 0; i < usable.nr; i++)
		mem_fill(usable.spans[i].addr, usable.spans[i].len, with,
			 stride);
	mem_fill(IO_ADDR, IO_LEN, with, stride);
}

static void do_fill(u64 with)
{
	fill(with);
	say("filled bytes=%llu", map_size(&usable));
}

static void do_intact(void)
{
	u64 wrong = 0, first = 0;
	uint32_t i;

	for (i = 0; i < usable.nr; i++)
		wrong += mem_wrong(usable.spans[i].addr, usable.spans[i].len,
				   usable.spans[i].addr, SCRIBBLE_SEED, stride,
				   &first);
	wrong += mem_wrong(IO_ADDR, IO_LEN, IO_ADDR, SCRIBBLE_SEED, stride,
			   &first);
	say("intact wrong=%llu first=%llx", wrong, first);
}

/* Memory does not change, but a migration cannot know that, and goes on. */
static void do_busy(void)
{
	say("waits");
	while (!serial_ready())
		fill(crashed.seed);
	serial_wait();
}

static void do_register(void)
{
	crashed.namesz = sizeof("BARE");
	crashed.descsz = sizeof(crashed) -
			 offsetof(struct crashed, unused_desc);
	memcpy(crashed.name, "BARE", sizeof("BARE"));
	crashed.magic = CRASHED_MAGIC;
	crashed.stride = stride;
	crashed.image.addr = (uintptr_t)image_start;
	crashed.image.len = image_end - image_start;
	crashed.filled = usable;
	cmos_write(CMOS_GENERATION, crashed.generation);
	fadump_register(destination, boot_mem * MIB);
}

static void do_release(void)
{
	fadump_request(VIRTIO_FADUMP_REQ_RELEASE);
	say("released state=%u", fadump_state());
}

static void do_desc(void)
{
	dump_read();
	if (crashed.generation != cmos_read(CMOS_GENERATION))
		die("this is dump %u", crashed.generation);
}

static void do_action(const char *word)
{
#define ACTION(name, call) do {			\
		if (!strcmp(word, name)) {	\
			call;			\
			return;			\
		}				\
	} while (0)

	ACTION("fill", do_fill(crashed.seed));
	ACTION("touch", stride = PAGE_SIZE; do_fill(crashed.seed));
	ACTION("code", do_code());
	ACTION("io", mem_fill(IO_ADDR, IO_LEN, crashed.seed, 8); blk_submit());
	ACTION("dog", dog_i6300esb(dog));
	ACTION("tco", dog_tco());
	ACTION("register", do_register());
	ACTION("unregister", fadump_request(VIRTIO_FADUMP_REQ_UNREGISTER));
	ACTION("trigger", do_end(crash_trigger, crash_reset));
	ACTION("reset", do_end(crash_reset, crash_triple));
	ACTION("triple", do_end(crash_triple, crash_hang));
	ACTION("hang", do_end(crash_hang, crash_end));
	ACTION("smi", do_smi());
	ACTION("remap", do_remap());
	ACTION("desc", do_desc());
	ACTION("map", dump_check_map());
	ACTION("regs", dump_check_regs());
	ACTION("verify", dump_verify());
	ACTION("held-code", dump_check_code());
	ACTION("held-io", dump_check_io());
	ACTION("stale", do_stale());
	ACTION("scribble", do_fill(SCRIBBLE_SEED));
	ACTION("intact", do_intact());
	ACTION("disk", blk_check());
	ACTION("discard", dump_discard());
	ACTION("release", do_release());
	ACTION("event", fadump_wait_event());
	ACTION("wait", say("waits"); serial_wait());
	ACTION("busy", do_busy());
	ACTION("halt", say("halts"); halt());
	die("what is \"%s\"?", word);
}

static const char *option(const char *word, const char *name)
{
	for (; *name; name++)
		if (*word++ != *name)
			return NULL;
	return word;
}

/* The next word, or NULL */
static char *next_word(char **at)
{
	char *word;

	while (**at == ' ')
		(*at)++;
	if (!**at)
		return NULL;
	word = *at;
	while (**at && **at != ' ')
		(*at)++;
	if (**at)
		*(*at)++ = 0;
	return word;
}

void bare_main(uint32_t info);

void bare_main(uint32_t info)
{
	/* what confines, and what holds: as any driver */
	u64 wanted = 1 << VIRTIO_FADUMP_F_HOST_MEM | 1 << VIRTIO_FADUMP_F_CONFINE |
		     1 << VIRTIO_FADUMP_F_DISCARD;
	const char *loaded = (char *)(uintptr_t)
			     *(uint32_t *)(uintptr_t)(info + MULTIBOOT_CMDLINE);
	char *at = cmdline, *word;
	const char *value;
	uint32_t state = VIRTIO_FADUMP_STATE_IDLE;
	bool ours = false, device;
	unsigned int i;

	for (i = 0; loaded[i] && i < sizeof(cmdline) - 1; i++)
		cmdline[i] = loaded[i];
	mem_init(info);

	do {
		word = next_word(&at);
	} while (word && strcmp(word, "--"));
	while ((word = next_word(&at)) != NULL) {
		value = option(word, "seed=");
		if (value)
			seed = number(value);
		value = option(word, "stride=");
		if (value)
			stride = number(value);
		value = option(word, "times=");
		if (value)
			times = number(value);
		value = option(word, "to=");
		if (value)
			destination = value;
		value = option(word, "boot=");
		if (value)
			boot_mem = number(value);
		value = option(word, "dog=");
		if (value)
			dog = number(value);
		if (!strcmp(word, "idle"))
			break;
	}
	if (strcmp(destination, "host"))
		wanted |= 1 << VIRTIO_FADUMP_F_GUEST_MEM;

	crashed.generation = cmos_read(CMOS_GENERATION);
	device = fadump_init(wanted);
	if (device)
		state = fadump_state();
	say("boot state=%u generation=%u ram=%llu device=%u features=%llx", state,
	    crashed.generation, map_size(&ram), device, fadump_features());
	if (state == VIRTIO_FADUMP_STATE_IDLE &&
	    crashed.generation++ >= times) {
		say("finished");
		halt();
	}
	crashed.seed = seed + crashed.generation;

	for (; word; word = next_word(&at)) {
		if (!strcmp(word, "idle"))
			ours = state == VIRTIO_FADUMP_STATE_IDLE;
		else if (!strcmp(word, "dump"))
			ours = state == VIRTIO_FADUMP_STATE_DUMP_AVAILABLE;
		else if (ours)
			do_action(word);
	}
	say("halts");
	halt();
}
