/* Takes a record's key from one of its headers. The same stands in `rust/rekey`, `javascript/rekey` and
 * `python/rekey`. */

#include <string.h>

#include <brooklet.h>
#include <brooklet_json.h>

BROOKLET_MANIFEST("rekey.json");

static brooklet_bytes from, keep_as;
static bool empty_is_tombstone;
static int64_t delay_ms;
static brooklet_counter rekeyed;
static uint64_t count;

static const char *configure(brooklet_bytes config, const brooklet_context *context) {
    (void)context;
    from = brooklet_json_string(brooklet_json_member(config, "from"));
    keep_as = brooklet_json_string(brooklet_json_member(config, "keep_as"));
    empty_is_tombstone = brooklet_json_true(brooklet_json_member(config, "empty_is_tombstone"));
    delay_ms = brooklet_json_int(brooklet_json_member(config, "delay_ms"), 0);
    if (brooklet_equal(from, keep_as)) {
        return "`keep_as` is `from`: the old key would be the next new one";
    }
    brooklet_pair field = {BROOKLET_TEXT("from"), from};
    brooklet_log(BROOKLET_INFO, BROOKLET_TEXT("ready to rekey"), &field, 1);
    brooklet_pair label = {BROOKLET_TEXT("language"), BROOKLET_TEXT("any")};
    rekeyed = brooklet_counter_new(BROOKLET_TEXT("records_rekeyed"), &label, 1);
    return NULL;
}

static brooklet_action reject(brooklet_change *change) {
    static const char NONE[] = "there is no header ";
    size_t len = sizeof NONE - 1;
    uint8_t *message = brooklet_alloc(len + from.len);
    memcpy(message, NONE, len);
    memcpy(message + len, from.data, from.len);
    return brooklet_reject(change, BROOKLET_TEXT("key"), (brooklet_bytes){message, len + from.len, false});
}

static brooklet_action rekey(const brooklet_record *record, brooklet_change *change) {
    size_t all = brooklet_header_count(record), others = 0;
    brooklet_header *headers = brooklet_alloc((all + 1) * sizeof *headers);
    bool found = false;
    for (size_t i = 0; i < all; i++) {
        brooklet_header header = brooklet_header_at(record, i);
        if (brooklet_equal(header.name, from)) {
            found = true;
            brooklet_set_key(change, header.value);
        } else {
            headers[others++] = header;
        }
    }
    if (!found) return reject(change);
    if (!keep_as.null) headers[others++] = (brooklet_header){keep_as, brooklet_key(record)};
    brooklet_set_headers(change, headers, others);
    brooklet_bytes value = brooklet_value(record);
    if (empty_is_tombstone && !value.null && value.len == 0) brooklet_set_value(change, BROOKLET_NULL);
    if (delay_ms != 0) brooklet_set_timestamp(change, brooklet_timestamp(record) + delay_ms);
    count++;
    return BROOKLET_CHANGE;
}

static void batch_done(void) {
    brooklet_counter_add(rekeyed, count);
    count = 0;
}

const brooklet_transform brooklet_plugin = {
    .columns = BROOKLET_KEYS | BROOKLET_VALUES | BROOKLET_HEADERS | BROOKLET_TIMESTAMPS,
    .configure = configure,
    .record = rekey,
    .batch_done = batch_done,
};
