/*
 * fadump-ctl: events as lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FADUMP_CTL_EVENT_H
#define FADUMP_CTL_EVENT_H

#include "info.h"

/* Whether "watch" prints it unasked. */
bool event_is_ours(const char *name);
/* When it happened: "2026-01-02T03:04:05.678Z", "-" if it does not say */
char *event_time(json_object *event);
/* What it says, in words. */
char *event_text(json_object *event);

#endif
