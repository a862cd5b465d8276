// SPDX-License-Identifier: GPL-2.0-or-later
/* What else of a PC is needed: CMOS, a serial port, fw_cfg */
#include "bare.h"

#define FW_CFG_FILE_DIR		0x19
#define FW_CFG_DMA_ERROR	1
#define FW_CFG_DMA_READ		2
#define FW_CFG_DMA_SELECT	8

struct fw_cfg_dma {
	uint32_t control;
	uint32_t length;
	u64 address;
};

struct fw_cfg_file {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[56];
};

uint8_t cmos_read(uint8_t reg)
{
	outb(0x70, reg | 0x80);
	return inb(0x71);
}

void cmos_write(uint8_t reg, uint8_t v)
{
	outb(0x70, reg | 0x80);
	outb(0x71, v);
}

bool serial_ready(void)
{
	return inb(0x2fd) & 1;
}

void serial_wait(void)
{
	while (!serial_ready())
		;
	inb(0x2f8);
}

/* All of fw_cfg is big-endian. */
static void fw_cfg_dma(uint32_t control, void *buf, uint32_t len)
{
	static volatile struct fw_cfg_dma dma;

	dma.control = __builtin_bswap32(control);
	dma.length = __builtin_bswap32(len);
	dma.address = __builtin_bswap64((uintptr_t)buf);
	outl(0x514, 0);
	outl(0x518, __builtin_bswap32((uint32_t)(uintptr_t)&dma));
	while (dma.control & ~__builtin_bswap32(FW_CFG_DMA_ERROR))
		;
	if (dma.control)
		die("fw_cfg");
}

size_t fw_cfg_read(const char *name, void *buf, size_t room)
{
	static struct fw_cfg_file file;
	static uint32_t nr;
	uint32_t size;

	fw_cfg_dma(FW_CFG_FILE_DIR << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_READ,
		   &nr, sizeof(nr));
	for (nr = __builtin_bswap32(nr); nr; nr--) {
		fw_cfg_dma(FW_CFG_DMA_READ, &file, sizeof(file));
		if (strcmp(file.name, name))
			continue;
		size = __builtin_bswap32(file.size);
		fw_cfg_dma((uint32_t)__builtin_bswap16(file.select) << 16 |
			   FW_CFG_DMA_SELECT | FW_CFG_DMA_READ,
			   buf, size < room ? size : room);
		return size;
	}
	return 0;
}
