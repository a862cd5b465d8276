/*
 * fadump-ctl: JSON of a peer that is not trusted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "monitor.h"

/* What QEMU sends is nested four deep. */
#define JSON_DEPTH 16

json_object *json_parse_object(const char *text, gsize len, GError **errp)
{
    json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
    json_object *obj = NULL;
    enum json_tokener_error err = json_tokener_error_size;

    json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
                           JSON_TOKENER_VALIDATE_UTF8);
    if (len <= G_MAXINT32) {
        /* a NUL is the end for the parser: without one it waits for more */
        obj = json_tokener_parse_ex(tok, text, len);
        err = json_tokener_get_error(tok);
        if (err == json_tokener_success &&
            json_tokener_get_parse_end(tok) < len) {
            err = json_tokener_error_parse_unexpected;
        }
    }
    json_tokener_free(tok);
    if (err == json_tokener_success &&
        json_object_is_type(obj, json_type_object)) {
        return obj;
    }
    json_object_put(obj);
    g_set_error(errp, CTL_ERROR, CTL_FAILED, "no JSON object: %s",
                err == json_tokener_success ? "another type" :
                err == json_tokener_continue ? "incomplete" :
                json_tokener_error_desc(err));
    return NULL;
}

json_object *json_member(json_object *obj, const char *name, json_type type)
{
    json_object *member;

    if (!json_object_is_type(obj, json_type_object) ||
        !json_object_object_get_ex(obj, name, &member) ||
        !json_object_is_type(member, type)) {
        return NULL;
    }
    return member;
}

const char *json_member_string(json_object *obj, const char *name)
{
    return json_object_get_string(json_member(obj, name, json_type_string));
}
