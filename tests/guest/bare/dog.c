// SPDX-License-Identifier: GPL-2.0-or-later
/* Watchdogs that are set, and never fed */
#include "bare.h"

#define I6300ESB_CONFIG		0x60
#define I6300ESB_CONFIG_NO_IRQ	0x01
#define I6300ESB_LOCK		0x68
#define I6300ESB_LOCK_ENABLE	0x02
#define I6300ESB_TIMER1		0x00
#define I6300ESB_TIMER2		0x04
#define I6300ESB_RELOAD		0x0c

#define ICH9_PMBASE		0x40
#define ICH9_RCBA		0xf0
#define ICH9_GCS		0x3410
#define ICH9_GCS_NO_REBOOT	0x20
#define ICH9_TCO1_CNT		0x68
#define ICH9_TCO_TMR		0x72

static void outw(uint16_t port, uint16_t v)
{
	asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

/* a register is written behind these two */
static void i6300esb_write(u64 bar, unsigned int reg, uint32_t v)
{
	write16(bar + I6300ESB_RELOAD, 0x80);
	write16(bar + I6300ESB_RELOAD, 0x86);
	write32(bar + reg, v);
}

/* It expires after that time, twice, and only then it acts. */
void dog_i6300esb(unsigned int ms)
{
	uint32_t dev = pci_find(0x8086, 0x25ab);
	u64 bar;

	if (!dev)
		die("no i6300esb");
	pci_enable(dev);
	bar = pci_bar(dev, 0);
	mem_map(bar, 16);
	i6300esb_write(bar, I6300ESB_TIMER1, ms);
	i6300esb_write(bar, I6300ESB_TIMER2, ms);
	/* the sizes of these writes matter */
	outl(0xcf8, dev | I6300ESB_CONFIG);
	outw(0xcfc, I6300ESB_CONFIG_NO_IRQ);
	outl(0xcf8, dev | I6300ESB_LOCK);
	outb(0xcfc, I6300ESB_LOCK_ENABLE);
}

/* The one of q35's own, the shortest time that it has: twice 1.2 s */
void dog_tco(void)
{
	uint32_t dev = pci_find(0x8086, 0x2918);
	u64 rcba;
	uint16_t base;

	if (!dev)
		die("no ICH9");
	base = pci_read32(dev, ICH9_PMBASE) & 0xff80;
	rcba = pci_read32(dev, ICH9_RCBA) & ~0x3fffU;
	mem_map(rcba, 0x4000);
	write32(rcba + ICH9_GCS, read32(rcba + ICH9_GCS) & ~ICH9_GCS_NO_REBOOT);
	outw(base + ICH9_TCO_TMR, 2);
	outw(base + ICH9_TCO1_CNT, 0);
}
