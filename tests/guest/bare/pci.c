// SPDX-License-Identifier: GPL-2.0-or-later
/* PCI configuration space by ports 0xcf8 and 0xcfc; firmware has set the BARs */
#include "bare.h"

uint32_t pci_read32(uint32_t dev, unsigned int reg)
{
	outl(0xcf8, dev | (reg & 0xfc));
	return inl(0xcfc);
}

uint16_t pci_read16(uint32_t dev, unsigned int reg)
{
	return pci_read32(dev, reg) >> (reg & 2) * 8;
}

uint8_t pci_read8(uint32_t dev, unsigned int reg)
{
	return pci_read32(dev, reg) >> (reg & 3) * 8;
}

void pci_write32(uint32_t dev, unsigned int reg, uint32_t v)
{
	outl(0xcf8, dev | (reg & 0xfc));
	outl(0xcfc, v);
}

/* Devices are on the root bus. */
uint32_t pci_find(uint16_t vendor, uint16_t device)
{
	unsigned int devfn;

	for (devfn = 0; devfn < 256; devfn++) {
		uint32_t dev = 0x80000000 | devfn << 8;

		if (pci_read32(dev, 0) == (vendor | (uint32_t)device << 16))
			return dev;
	}
	return 0;
}

u64 pci_bar(uint32_t dev, unsigned int bar)
{
	uint32_t low = pci_read32(dev, 0x10 + bar * 4);
	u64 addr = low & ~0xfU;

	if (low & 4)
		addr |= (u64)pci_read32(dev, 0x14 + bar * 4) << 32;
	return addr;
}

void pci_enable(uint32_t dev)
{
	/* memory, bus master */
	pci_write32(dev, 4, pci_read16(dev, 4) | 6);
}
