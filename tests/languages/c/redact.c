/* Takes fields out of JSON values, or puts a text in their place. The same stands in `rust/redact`,
 * `javascript/redact` and `python/redact`.
 *
 * What is left keeps its order, its spaces and its text: numbers above all. A member that goes takes the comma behind it
 * along, the last of its object the one before it. */

#include <string.h>

#include <brooklet.h>
#include <brooklet_json.h>

BROOKLET_MANIFEST("redact.json");

static brooklet_paths *paths;
/* The paths before this one are of fields that go. */
static size_t dropped;
/* What takes the place of the others, as JSON. */
static brooklet_bytes text;

static void add_path(void *problem, brooklet_bytes path) {
    const char *said = brooklet_paths_add(paths, brooklet_json_string(path));
    if (said != NULL) *(const char **)problem = said;
}

static const char *configure(brooklet_bytes config, const brooklet_context *context) {
    (void)context;
    const char *problem = NULL;
    paths = brooklet_paths_new();
    dropped = brooklet_json_items(brooklet_json_member(config, "drop"), add_path, &problem);
    brooklet_json_items(brooklet_json_member(config, "replace"), add_path, &problem);
    brooklet_bytes with = brooklet_json_string(brooklet_json_member(config, "with"));
    text = brooklet_json_quote(with.null ? BROOKLET_TEXT("***") : with);
    return problem;
}

typedef struct {
    brooklet_bytes value;
    uint8_t *out;
    size_t len, capacity, done;
} redaction;

static void put(redaction *it, const uint8_t *data, size_t len) {
    if (it->capacity - it->len < len) {
        it->capacity = (it->len + len) * 2;
        uint8_t *more = brooklet_alloc(it->capacity);
        if (it->len > 0) memcpy(more, it->out, it->len);
        it->out = more;
    }
    if (len > 0) memcpy(it->out + it->len, data, len);
    it->len += len;
}

static void found(void *to, const brooklet_place *place) {
    redaction *it = to;
    const uint8_t *data = it->value.data;
    if (place->path >= dropped) {
        put(it, data + it->done, place->start - it->done);
        put(it, text.data, text.len);
        it->done = place->end;
        return;
    }
    put(it, data + it->done, place->member_start - it->done);
    it->done = place->member_end;
    if (data[it->done] == ',') {
        it->done++;
    } else if (it->len > 0 && it->out[it->len - 1] == ',') {
        it->len--;
    }
}

static brooklet_action redact(const brooklet_record *record, brooklet_change *change) {
    redaction it = {.value = brooklet_value(record)};
    if (it.value.null) return BROOKLET_KEEP;
    if (!brooklet_paths_find(paths, it.value, found, &it)) {
        return brooklet_reject(change, BROOKLET_TEXT("syntax"), BROOKLET_TEXT("the value is not JSON"));
    }
    if (it.done == 0) return BROOKLET_KEEP;
    put(&it, it.value.data + it.done, it.value.len - it.done);
    brooklet_set_value(change, (brooklet_bytes){it.out, it.len, false});
    return BROOKLET_CHANGE;
}

const brooklet_transform brooklet_plugin = {
    .columns = BROOKLET_VALUES,
    .configure = configure,
    .record = redact,
};
