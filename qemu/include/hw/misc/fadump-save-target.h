/*
 * Firmware-assisted dump: where a dump is written to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_FADUMP_SAVE_TARGET_H
#define HW_MISC_FADUMP_SAVE_TARGET_H

typedef struct FadumpTarget {
    /* -1 while it is not open */
    int fd;
    /* the name to give, NULL if it has one or is no file */
    char *path;
    /* the name it has while it is written, NULL if it has none */
    char *temp;
    /* a regular file */
    bool seekable;
    bool socket;
} FadumpTarget;

/* As fadump_save_start() has @protocol. Closed by the caller in any case. */
bool fadump_target_open(FadumpTarget *t, const char *protocol, Error **errp);

/*
 * Put what was written on stable storage, then give it its name, unless
 * @cancel says meanwhile that nobody wants it.
 */
bool fadump_target_publish(FadumpTarget *t, const bool *cancel, Error **errp);

/* Nothing is left of a file that has not been given its name. */
void fadump_target_close(FadumpTarget *t);

#endif /* HW_MISC_FADUMP_SAVE_TARGET_H */
