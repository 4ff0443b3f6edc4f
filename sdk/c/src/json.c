/* JSON by RFC 8259, in one pass and without recursion. A position is a pointer; NULL is where the text is no JSON. */

#include <stdlib.h>
#include <string.h>

#include "../include/brooklet_json.h"

typedef const uint8_t *place;

static void *keep(void *memory) {
    if (memory == NULL) __builtin_trap();
    return memory;
}

static place space(place at, place end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static bool is_hex(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Behind the string that begins at `at`. */
static place string(place at, place end) {
    if (at >= end || *at != '"') return NULL;
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at < 0x20) return NULL;
        if (*at != '\\') continue;
        at++;
        if (at >= end) return NULL;
        if (*at == 'u') {
            if (end - at < 5) return NULL;
            for (int digit = 1; digit <= 4; digit++) {
                if (!is_hex(at[digit])) return NULL;
            }
            at += 4;
        } else if (memchr("\"\\/bfnrt", *at, 8) == NULL) {
            return NULL;
        }
    }
    return NULL;
}

static place digits(place at, place end) {
    place start = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at == start ? NULL : at;
}

static place word(place at, place end, const char *text, size_t len) {
    return (size_t)(end - at) >= len && memcmp(at, text, len) == 0 ? at + len : NULL;
}

/* Behind the number, `true`, `false` or `null` that begins at `at`. */
static place scalar(place at, place end) {
    if (*at == 't') return word(at, end, "true", 4);
    if (*at == 'f') return word(at, end, "false", 5);
    if (*at == 'n') return word(at, end, "null", 4);
    if (*at == '-') at++;
    if (at < end && *at == '0') {
        at++;
    } else if ((at = digits(at, end)) == NULL) {
        return NULL;
    }
    if (at < end && *at == '.' && (at = digits(at + 1, end)) == NULL) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        return digits(at, end);
    }
    return at;
}

/* Behind the name and the colon that begin at `at`. */
static place name_and_colon(place at, place end) {
    at = string(space(at, end), end);
    if (at == NULL) return NULL;
    at = space(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

/* The brackets that are open, a byte each. Kept from text to text. */
static uint8_t *open_brackets;
static size_t open_max;

static void open_bracket(size_t depth, uint8_t bracket) {
    if (depth == open_max) {
        open_max = open_max == 0 ? 64 : open_max * 2;
        open_brackets = keep(realloc(open_brackets, open_max));
    }
    open_brackets[depth] = bracket;
}

/* Behind the value that begins at or behind `at`. */
static place value(place at, place end) {
    size_t depth = 0;
    for (;;) {
        at = space(at, end);
        if (at >= end) return NULL;
        if (*at == '{' || *at == '[') {
            uint8_t bracket = *at;
            open_bracket(depth++, bracket);
            at = space(at + 1, end);
            if (at >= end) return NULL;
            /* The closing bracket stands two behind the opening one. */
            if (*at != bracket + 2) {
                if (bracket == '{' && (at = name_and_colon(at, end)) == NULL) return NULL;
                continue;
            }
            at++;
            depth--;
        } else {
            at = *at == '"' ? string(at, end) : scalar(at, end);
            if (at == NULL) return NULL;
        }
        /* A value is over. */
        for (;;) {
            if (depth == 0) return at;
            at = space(at, end);
            if (at >= end) return NULL;
            uint8_t bracket = open_brackets[depth - 1];
            if (*at == ',') {
                at++;
                if (bracket == '{' && (at = name_and_colon(at, end)) == NULL) return NULL;
                break;
            }
            if (*at != bracket + 2) return NULL;
            at++;
            depth--;
        }
    }
}

static uint32_t hex4(place at) {
    uint32_t number = 0;
    for (int digit = 0; digit < 4; digit++) {
        uint8_t byte = at[digit];
        number = number * 16 + (byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10);
    }
    return number;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (uint8_t)c;
    } else if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | c >> 18);
        *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return to;
}

/* What the string between two positions means, into memory of its length. False if half a surrogate pair is in it:
 * that is no character. */
static bool unescape(place at, place end, uint8_t *memory, brooklet_bytes *meant) {
    uint8_t *to = memory;
    for (at++, end--; at < end; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        at++;
        switch (*at) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            uint32_t c = hex4(at + 1);
            at += 4;
            if (c >= 0xdc00 && c < 0xe000) return false;
            if (c >= 0xd800 && c < 0xdc00) {
                if (end - at < 7 || at[1] != '\\' || at[2] != 'u') return false;
                uint32_t low = hex4(at + 3);
                if (low < 0xdc00 || low >= 0xe000) return false;
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                at += 6;
            }
            to = put_utf8(to, c);
            break;
        }
        default: *to++ = *at;
        }
    }
    *meant = (brooklet_bytes){memory, (size_t)(to - memory), false};
    return true;
}

/* What a name means; false if that is no text. Without an escape it is the text's own bytes. */
static bool name_of(place at, place end, brooklet_bytes *name) {
    size_t len = (size_t)(end - at) - 2;
    if (memchr(at + 1, '\\', len) == NULL) {
        *name = (brooklet_bytes){at + 1, len, false};
        return true;
    }
    return unescape(at, end, brooklet_alloc(len), name);
}

static bool is_utf8(place at, place end) {
    while (at < end) {
        uint8_t lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (at[0] < low || at[0] > high) return false;
        for (int i = 1; i < more; i++) {
            if ((at[i] & 0xc0) != 0x80) return false;
        }
        at += more;
    }
    return true;
}

/* ---- Configuration. The host has read it as JSON before. ------------------------------------------------------ */

brooklet_bytes brooklet_json_member(brooklet_bytes object, const char *name) {
    brooklet_bytes wanted = {(const uint8_t *)name, strlen(name), false}, last = BROOKLET_NULL;
    place end = object.data + object.len, at = space(object.data, end);
    if (object.null || at >= end || *at != '{') return last;
    for (;;) {
        at = space(at + 1, end);
        place name_end = string(at, end);
        if (name_end == NULL) return last;
        brooklet_bytes found;
        bool is_wanted = name_of(at, name_end, &found) && brooklet_equal(found, wanted);
        place colon = space(name_end, end);
        if (colon >= end) return last;
        place start = space(colon + 1, end);
        if ((at = value(start, end)) == NULL) return last;
        if (is_wanted) last = (brooklet_bytes){start, (size_t)(at - start), false};
        at = space(at, end);
        if (at >= end || *at != ',') return last;
    }
}

size_t brooklet_json_items(brooklet_bytes array, void (*item)(void *, brooklet_bytes), void *to) {
    place end = array.data + array.len, at = space(array.data, end);
    size_t count = 0;
    if (array.null || at >= end || *at != '[') return 0;
    do {
        place start = space(at + 1, end);
        if (start >= end || *start == ']' || (at = value(start, end)) == NULL) return count;
        item(to, (brooklet_bytes){start, (size_t)(at - start), false});
        count++;
        at = space(at, end);
    } while (at < end && *at == ',');
    return count;
}

brooklet_bytes brooklet_json_string(brooklet_bytes text) {
    brooklet_bytes meant;
    place end = text.data + text.len;
    if (text.null || string(text.data, end) != end) return BROOKLET_NULL;
    return unescape(text.data, end, keep(malloc(text.len)), &meant) ? meant : BROOKLET_NULL;
}

bool brooklet_json_true(brooklet_bytes text) {
    return brooklet_equal(text, BROOKLET_TEXT("true"));
}

int64_t brooklet_json_int(brooklet_bytes text, int64_t fallback) {
    int64_t number = 0;
    size_t at = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative) at++;
    if (at == text.len) return fallback;
    for (; at < text.len; at++) {
        int64_t digit = text.data[at] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, digit, &number)) {
            return fallback;
        }
    }
    if (negative) return number;
    return number == INT64_MIN ? fallback : -number;
}

brooklet_bytes brooklet_json_quote(brooklet_bytes text) {
    static const char HEX[] = "0123456789abcdef";
    uint8_t *memory = keep(malloc(text.len * 6 + 2)), *to = memory;
    *to++ = '"';
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.data[at];
        const char *plain = "\"\\\b\f\n\r\t", *written = "\"\\bfnrt";
        const char *found = byte == 0 ? NULL : strchr(plain, byte);
        if (found != NULL) {
            *to++ = '\\';
            *to++ = (uint8_t)written[found - plain];
        } else if (byte < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = (uint8_t)HEX[byte >> 4];
            to[5] = (uint8_t)HEX[byte & 15];
            to += 6;
        } else {
            *to++ = byte;
        }
    }
    *to++ = '"';
    return (brooklet_bytes){memory, (size_t)(to - memory), false};
}

/* ---- Paths ---------------------------------------------------------------------------------------------------- */

typedef struct node {
    brooklet_bytes name;
    bool is_end;
    size_t path;
    struct node *children;
    struct node *next;
} node;

struct brooklet_paths {
    node root;
    size_t count;
};

brooklet_paths *brooklet_paths_new(void) {
    return keep(calloc(1, sizeof(brooklet_paths)));
}

static node *child_of(const node *parent, brooklet_bytes name) {
    for (node *child = parent->children; child != NULL; child = child->next) {
        if (brooklet_equal(child->name, name)) return child;
    }
    return NULL;
}

/* The next name of a path, or what is wrong with it. */
static const char *next_name(brooklet_bytes path, size_t *at, brooklet_bytes *name) {
    uint8_t *memory = keep(malloc(path.len + 1));
    size_t len = 0;
    for (; *at < path.len && path.data[*at] != '.'; (*at)++) {
        if (path.data[*at] == '\\') {
            (*at)++;
            if (*at == path.len || (path.data[*at] != '.' && path.data[*at] != '\\')) {
                return "in a path a backslash stands before something other than a dot or a backslash";
            }
        }
        memory[len++] = path.data[*at];
    }
    *name = (brooklet_bytes){memory, len, false};
    return len == 0 ? "a path has an empty name in it" : NULL;
}

const char *brooklet_paths_add(brooklet_paths *paths, brooklet_bytes path) {
    static const char OVERLAP[] = "a path is given twice, or lies within another";
    node *at_node = &paths->root;
    for (size_t at = 0;; at++) {
        brooklet_bytes name;
        const char *problem = next_name(path, &at, &name);
        if (problem != NULL) return problem;
        node *child = child_of(at_node, name);
        if (child == NULL) {
            child = keep(calloc(1, sizeof(node)));
            child->name = name;
            child->next = at_node->children;
            at_node->children = child;
        }
        at_node = child;
        if (at_node->is_end) return OVERLAP;
        if (at == path.len) break;
    }
    if (at_node->children != NULL) return OVERLAP;
    at_node->is_end = true;
    at_node->path = paths->count++;
    return NULL;
}

typedef struct {
    place start, end;
    void (*found)(void *, const brooklet_place *);
    void *to;
} search;

/* Goes through the object that begins at `at`, as deep as the paths are long; the position behind it. */
static place walk(const search *s, place at, const node *parent) {
    place member_start = at + 1;
    at = space(member_start, s->end);
    if (at < s->end && *at == '}') return at + 1;
    for (;;) {
        brooklet_bytes name;
        place name_end = string(at, s->end), after = name_and_colon(at, s->end);
        if (after == NULL || !name_of(at, name_end, &name)) return NULL;
        place start = space(after, s->end);
        if (start >= s->end) return NULL;
        node *child = child_of(parent, name);
        bool descends = child != NULL && !child->is_end && *start == '{';
        place behind = descends ? walk(s, start, child) : value(start, s->end);
        if (behind == NULL) return NULL;
        at = space(behind, s->end);
        if (at >= s->end || (*at != ',' && *at != '}')) return NULL;
        if (child != NULL && child->is_end) {
            brooklet_place found = {
                child->path,
                (size_t)(start - s->start),
                (size_t)(behind - s->start),
                (size_t)(member_start - s->start),
                (size_t)(at - s->start),
            };
            s->found(s->to, &found);
        }
        if (*at == '}') return at + 1;
        member_start = at + 1;
        at = space(member_start, s->end);
    }
}

bool brooklet_paths_find(const brooklet_paths *paths, brooklet_bytes json,
                         void (*found)(void *, const brooklet_place *), void *to) {
    search s = {json.data, json.data + json.len, found, to};
    if (json.null || !is_utf8(s.start, s.end)) return false;
    place at = space(s.start, s.end);
    if (at >= s.end) return false;
    at = *at == '{' ? walk(&s, at, &paths->root) : value(at, s.end);
    return at != NULL && space(at, s.end) == s.end;
}
