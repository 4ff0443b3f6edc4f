/* JSON: an instance's configuration read, and fields of values found where they stand, so that everything else can stay
 * byte for byte what it is.
 *
 * Nothing recurses with the depth of a text.
 */
#ifndef BROOKLET_JSON_H
#define BROOKLET_JSON_H

#include "brooklet.h"

/* The text of a member's value; null if the text is no object or has no member of that name. The last counts. */
brooklet_bytes brooklet_json_member(brooklet_bytes object, const char *name);
/* The number of items of an array, 0 if the text is none; `item` is called with the text of each. */
size_t brooklet_json_items(brooklet_bytes array, void (*item)(void *to, brooklet_bytes text), void *to);
/* What a string means; null if the text is none. Stays for as long as the instance does. */
brooklet_bytes brooklet_json_string(brooklet_bytes text);
/* Whether the text is `true`. */
bool brooklet_json_true(brooklet_bytes text);
/* What a whole number is worth, `fallback` if the text is none of 64 bits. */
int64_t brooklet_json_int(brooklet_bytes text, int64_t fallback);
/* A text as a JSON string. Stays for as long as the instance does. */
brooklet_bytes brooklet_json_quote(brooklet_bytes text);

/* Where a field stands: its value, and the whole member, from behind the brace or comma before its name up to the comma
 * or brace behind its value. */
typedef struct {
    size_t path; /* index of the path that leads to it */
    size_t start, end;
    size_t member_start, member_end;
} brooklet_place;

/* A set of paths to look for. No path may lie within another. */
typedef struct brooklet_paths brooklet_paths;

brooklet_paths *brooklet_paths_new(void);
/* Adds a dotted path, in which a dot within a name is written `\.` and a backslash `\\`. Returns what is wrong with it,
 * or NULL. */
const char *brooklet_paths_add(brooklet_paths *paths, brooklet_bytes path);
/* Calls `found` for each field in the order of the text. False if it is no JSON in UTF-8; `found` may have been called
 * before that was known. */
bool brooklet_paths_find(const brooklet_paths *paths, brooklet_bytes json,
                         void (*found)(void *to, const brooklet_place *place), void *to);

#endif
