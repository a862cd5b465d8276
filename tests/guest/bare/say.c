// SPDX-License-Identifier: GPL-2.0-or-later
/* Lines on the debug console that tests parse: "bare WHAT KEY=VALUE..." */
#include <stdarg.h>

#include "bare.h"

static void put(char c)
{
	outb(0x402, c);
}

static void put_number(u64 n, unsigned int base)
{
	char buf[20];
	int i = 0;

	do {
		buf[i++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	while (i)
		put(buf[--i]);
}

/* %s, %u, %x, %llu and %llx */
static void vsay(const char *fmt, va_list args)
{
	for (; *fmt; fmt++) {
		bool wide = false;
		const char *s;
		u64 n;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		if (*++fmt == 'l') {
			wide = true;
			fmt += 2;
		}
		if (*fmt == 's') {
			for (s = va_arg(args, const char *); *s; s++)
				put(*s);
			continue;
		}
		n = wide ? va_arg(args, u64) : va_arg(args, unsigned int);
		put_number(n, *fmt == 'x' ? 16 : 10);
	}
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay("bare ", args);
	vsay(fmt, args);
	put('\n');
	va_end(args);
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay("bare error ", args);
	vsay(fmt, args);
	put('\n');
	va_end(args);
	halt();
}
