/* Keeps records by their key or by a header. The same stands in `rust/only`, `javascript/only` and `python/only`. */

#include <stdlib.h>

#include <brooklet.h>
#include <brooklet_json.h>

BROOKLET_MANIFEST("only.json");

/* Null where nothing is asked for. */
static brooklet_bytes prefix, header;
static brooklet_bytes *values;
static size_t value_count;

static void add_value(void *to, brooklet_bytes text) {
    (void)to;
    values = realloc(values, (value_count + 1) * sizeof *values);
    values[value_count++] = brooklet_json_string(text);
}

static const char *configure(brooklet_bytes config, const brooklet_context *context) {
    (void)context;
    prefix = brooklet_json_string(brooklet_json_member(config, "prefix"));
    brooklet_bytes wanted = brooklet_json_member(config, "header");
    header = brooklet_json_string(brooklet_json_member(wanted, "name"));
    value_count = 0;
    brooklet_json_items(brooklet_json_member(wanted, "values"), add_value, NULL);
    return NULL;
}

/* Kept is what has all that is asked for. A key or header that is null is none. */
static brooklet_action only(const brooklet_record *record, brooklet_change *change) {
    (void)change;
    if (!prefix.null) {
        brooklet_bytes key = brooklet_key(record);
        if (key.null || !brooklet_starts_with(key, prefix)) return BROOKLET_DROP;
    }
    if (!header.null) {
        brooklet_bytes found = brooklet_last_header(record, header);
        for (size_t i = 0; i < value_count; i++) {
            if (brooklet_equal(found, values[i])) return BROOKLET_KEEP;
        }
        return BROOKLET_DROP;
    }
    return BROOKLET_KEEP;
}

const brooklet_transform brooklet_plugin = {
    .columns = BROOKLET_KEYS | BROOKLET_HEADERS,
    .configure = configure,
    .record = only,
};
