/* Between an author's function and the columns of the interface. The names in `transform_plugin.h` are wit-bindgen's.
 *
 * Memory: what the host hands over is freed when the call is over; what is handed back is allocated column by column,
 * and freed by the generated code when the host has read it. All that lives for one batch is in blocks of its own. */

#include <stdlib.h>
#include <string.h>

#include "../include/brooklet.h"
#include "transform_plugin.h"

typedef exports_brooklet_plugin_transform_batch_t batch_t;
typedef brooklet_plugin_types_blobs_t blobs_t;

static void *checked(void *memory) {
    if (memory == NULL) __builtin_trap();
    return memory;
}

/* ---- Memory of a batch ---------------------------------------------------------------------------------------- */

typedef struct block {
    struct block *next;
    size_t used, size;
} block;

#define BLOCK_BYTES ((size_t)64 << 10)

static block *blocks;

void *brooklet_alloc(size_t len) {
    len = (len + 15) & ~(size_t)15;
    if (blocks == NULL || blocks->size - blocks->used < len) {
        size_t size = len > BLOCK_BYTES ? len : BLOCK_BYTES;
        block *more = checked(malloc(sizeof(block) + size));
        *more = (block){blocks, 0, size};
        blocks = more;
    }
    void *memory = (uint8_t *)(blocks + 1) + blocks->used;
    blocks->used += len;
    return memory;
}

/* Keeps the first block for the next batch. */
static void free_blocks(void) {
    while (blocks != NULL && (blocks->next != NULL || blocks->size > BLOCK_BYTES)) {
        block *gone = blocks;
        blocks = gone->next;
        free(gone);
    }
    if (blocks != NULL) blocks->used = 0;
}

bool brooklet_equal(brooklet_bytes a, brooklet_bytes b) {
    return !a.null && !b.null && a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool brooklet_starts_with(brooklet_bytes bytes, brooklet_bytes prefix) {
    return bytes.len >= prefix.len && (prefix.len == 0 || memcmp(bytes.data, prefix.data, prefix.len) == 0);
}

/* ---- Records -------------------------------------------------------------------------------------------------- */

struct brooklet_batch {
    const batch_t *input;
    /* Where the headers of each record begin, and the end. */
    size_t *header_starts;
};

static brooklet_bytes entry(const blobs_t *blobs, size_t index) {
    size_t end = blobs->ends.ptr[index], start = index == 0 ? 0 : blobs->ends.ptr[index - 1];
    /* A null has no bytes: only the empty are looked up. */
    if (start == end && blobs->nulls.is_some) {
        size_t low = 0, high = blobs->nulls.val.len;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (blobs->nulls.val.ptr[middle] == index) return BROOKLET_NULL;
            if (blobs->nulls.val.ptr[middle] < index) low = middle + 1; else high = middle;
        }
    }
    return (brooklet_bytes){blobs->data.ptr + start, end - start, false};
}

/* A column that was not asked for. */
static void asked(bool is_there) {
    if (!is_there) __builtin_trap();
}

brooklet_bytes brooklet_topic(const brooklet_record *record) {
    const batch_t *input = record->batch->input;
    return (brooklet_bytes){input->topic.ptr, input->topic.len, false};
}

int32_t brooklet_partition(const brooklet_record *record) {
    return record->batch->input->partition;
}

brooklet_bytes brooklet_key(const brooklet_record *record) {
    asked(record->batch->input->keys.is_some);
    return entry(&record->batch->input->keys.val, record->index);
}

brooklet_bytes brooklet_value(const brooklet_record *record) {
    asked(record->batch->input->values.is_some);
    return entry(&record->batch->input->values.val, record->index);
}

int64_t brooklet_offset(const brooklet_record *record) {
    const batch_t *input = record->batch->input;
    uint32_t delta = input->offset_deltas.is_some ? input->offset_deltas.val.ptr[record->index] : record->index;
    return input->base_offset + delta;
}

int64_t brooklet_timestamp(const brooklet_record *record) {
    const batch_t *input = record->batch->input;
    asked((brooklet_plugin.columns & BROOKLET_TIMESTAMPS) != 0);
    return input->base_timestamp + (input->timestamp_deltas.is_some ? input->timestamp_deltas.val.ptr[record->index] : 0);
}

size_t brooklet_header_count(const brooklet_record *record) {
    asked(record->batch->input->headers.is_some);
    return record->batch->input->headers.val.counts.ptr[record->index];
}

brooklet_header brooklet_header_at(const brooklet_record *record, size_t index) {
    asked(index < brooklet_header_count(record));
    index += record->batch->header_starts[record->index];
    brooklet_bytes name = entry(&record->batch->input->headers.val.names, index);
    name.null = false;
    return (brooklet_header){name, entry(&record->batch->input->headers.val.values, index)};
}

brooklet_bytes brooklet_last_header(const brooklet_record *record, brooklet_bytes name) {
    for (size_t i = brooklet_header_count(record); i > 0; i--) {
        brooklet_header header = brooklet_header_at(record, i - 1);
        if (brooklet_equal(header.name, name)) return header.value;
    }
    return BROOKLET_NULL;
}

/* ---- Changes -------------------------------------------------------------------------------------------------- */

#define KEY 1u
#define VALUE 2u
#define HEADERS 4u
#define TIMESTAMP 8u

struct brooklet_change {
    unsigned touched;
    brooklet_bytes key, value;
    const brooklet_header *headers;
    size_t header_count;
    int64_t timestamp;
    brooklet_bytes code, message;
};

void brooklet_set_key(brooklet_change *change, brooklet_bytes key) {
    change->touched |= KEY;
    change->key = key;
}

void brooklet_set_value(brooklet_change *change, brooklet_bytes value) {
    change->touched |= VALUE;
    change->value = value;
}

void brooklet_set_headers(brooklet_change *change, const brooklet_header *headers, size_t count) {
    change->touched |= HEADERS;
    change->headers = headers;
    change->header_count = count;
}

void brooklet_set_timestamp(brooklet_change *change, int64_t timestamp) {
    change->touched |= TIMESTAMP;
    change->timestamp = timestamp;
}

brooklet_action brooklet_reject(brooklet_change *change, brooklet_bytes code, brooklet_bytes message) {
    change->code = code;
    change->message = message;
    return BROOKLET_REJECT;
}

/* A column under construction. */
typedef struct {
    blobs_t *blobs;
    size_t capacity, entries, nulls;
} column;

static column start_column(blobs_t *blobs, size_t entries, size_t bytes) {
    blobs->data.ptr = bytes == 0 ? NULL : checked(malloc(bytes));
    blobs->data.len = 0;
    blobs->ends.ptr = entries == 0 ? NULL : checked(malloc(entries * sizeof(uint32_t)));
    blobs->ends.len = 0;
    blobs->nulls.is_some = false;
    return (column){blobs, bytes, entries, 0};
}

static void push(column *to, brooklet_bytes bytes) {
    blobs_t *blobs = to->blobs;
    if (bytes.null) {
        if (!blobs->nulls.is_some) {
            blobs->nulls.is_some = true;
            blobs->nulls.val.ptr = checked(malloc(to->entries * sizeof(uint32_t)));
            blobs->nulls.val.len = 0;
        }
        blobs->nulls.val.ptr[blobs->nulls.val.len++] = (uint32_t)blobs->ends.len;
    } else if (bytes.len > 0) {
        memcpy(blobs->data.ptr + blobs->data.len, bytes.data, bytes.len);
        blobs->data.len += bytes.len;
    }
    blobs->ends.ptr[blobs->ends.len++] = (uint32_t)blobs->data.len;
}

typedef struct {
    brooklet_record record;
    brooklet_change change;
} kept;

static brooklet_bytes key_of(const kept *it) {
    return it->change.touched & KEY ? it->change.key : brooklet_key(&it->record);
}

static brooklet_bytes value_of(const kept *it) {
    return it->change.touched & VALUE ? it->change.value : brooklet_value(&it->record);
}

static void put_column(blobs_t *blobs, const kept *all, size_t count, brooklet_bytes (*of)(const kept *)) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += of(&all[i]).len;
    column to = start_column(blobs, count, bytes);
    for (size_t i = 0; i < count; i++) push(&to, of(&all[i]));
}

static size_t header_count_of(const kept *it) {
    return it->change.touched & HEADERS ? it->change.header_count : brooklet_header_count(&it->record);
}

static brooklet_header header_of(const kept *it, size_t index) {
    return it->change.touched & HEADERS ? it->change.headers[index] : brooklet_header_at(&it->record, index);
}

static void put_headers(brooklet_plugin_types_header_columns_t *columns, const kept *all, size_t count) {
    size_t total = 0, name_bytes = 0, value_bytes = 0;
    columns->counts.ptr = count == 0 ? NULL : checked(malloc(count * sizeof(uint32_t)));
    columns->counts.len = count;
    for (size_t i = 0; i < count; i++) {
        size_t own = header_count_of(&all[i]);
        columns->counts.ptr[i] = (uint32_t)own;
        total += own;
        for (size_t j = 0; j < own; j++) {
            brooklet_header header = header_of(&all[i], j);
            name_bytes += header.name.len;
            value_bytes += header.value.len;
        }
    }
    column names = start_column(&columns->names, total, name_bytes);
    column values = start_column(&columns->values, total, value_bytes);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < header_count_of(&all[i]); j++) {
            brooklet_header header = header_of(&all[i], j);
            header.name.null = false;
            push(&names, header.name);
            push(&values, header.value);
        }
    }
}

/* ---- Exports -------------------------------------------------------------------------------------------------- */

static void put_string(transform_plugin_string_t *string, brooklet_bytes bytes) {
    string->ptr = bytes.len == 0 ? NULL : checked(malloc(bytes.len));
    string->len = bytes.len;
    if (bytes.len > 0) memcpy(string->ptr, bytes.data, bytes.len);
}

bool exports_brooklet_plugin_lifecycle_init(exports_brooklet_plugin_lifecycle_context_t *ctx,
                                            transform_plugin_string_t *config,
                                            exports_brooklet_plugin_lifecycle_ready_t *ret,
                                            exports_brooklet_plugin_lifecycle_plugin_error_t *err) {
    /* Neither is freed: an instance has one configuration. */
    brooklet_context context = {
        {ctx->plugin_name.ptr, ctx->plugin_name.len, false},
        {ctx->task.ptr, ctx->task.len, false},
        {ctx->host_version.ptr, ctx->host_version.len, false},
    };
    const char *problem = NULL;
    if (brooklet_plugin.configure != NULL) {
        problem = brooklet_plugin.configure((brooklet_bytes){config->ptr, config->len, false}, &context);
    }
    free_blocks();
    if (problem != NULL) {
        err->tag = BROOKLET_PLUGIN_TYPES_PLUGIN_ERROR_CONFIG;
        put_string(&err->val.config, (brooklet_bytes){(const uint8_t *)problem, strlen(problem), false});
        return false;
    }
    ret->columns = (uint8_t)brooklet_plugin.columns;
    ret->properties.ptr = NULL;
    ret->properties.len = 0;
    return true;
}

void exports_brooklet_plugin_lifecycle_shutdown(void) {}

static void emit(exports_brooklet_plugin_transform_out_batch_t *out, const kept *all, size_t count, size_t records,
                 unsigned touched) {
    memset(out, 0, sizeof *out);
    out->count = (uint32_t)count;
    if (count < records) {
        out->sources.is_some = true;
        out->sources.val.ptr = count == 0 ? NULL : checked(malloc(count * sizeof(uint32_t)));
        out->sources.val.len = count;
        for (size_t i = 0; i < count; i++) out->sources.val.ptr[i] = all[i].record.index;
    }
    if (touched & KEY) {
        out->keys.is_some = true;
        put_column(&out->keys.val, all, count, key_of);
    }
    if (touched & VALUE) {
        out->values.is_some = true;
        put_column(&out->values.val, all, count, value_of);
    }
    if (touched & HEADERS) {
        out->headers.is_some = true;
        put_headers(&out->headers.val, all, count);
    }
    if (touched & TIMESTAMP) {
        out->timestamps.is_some = true;
        out->timestamps.val.ptr = count == 0 ? NULL : checked(malloc(count * sizeof(int64_t)));
        out->timestamps.val.len = count;
        for (size_t i = 0; i < count; i++) {
            bool own = all[i].change.touched & TIMESTAMP;
            out->timestamps.val.ptr[i] = own ? all[i].change.timestamp : brooklet_timestamp(&all[i].record);
        }
    }
}

static void add_reject(exports_brooklet_plugin_transform_transformed_t *ret, size_t records, uint32_t index,
                       const brooklet_change *change) {
    if (!ret->rejects.is_some) {
        ret->rejects.is_some = true;
        ret->rejects.val.ptr = checked(malloc(records * sizeof *ret->rejects.val.ptr));
        ret->rejects.val.len = 0;
    }
    brooklet_plugin_types_reject_t *reject = &ret->rejects.val.ptr[ret->rejects.val.len++];
    reject->index = index;
    put_string(&reject->code, change->code);
    put_string(&reject->message, change->message);
}

bool exports_brooklet_plugin_transform_transform(batch_t *input, exports_brooklet_plugin_transform_transformed_t *ret,
                                                 exports_brooklet_plugin_transform_plugin_error_t *err) {
    (void)err;
    size_t records = input->count, count = 0;
    unsigned touched = 0;
    memset(ret, 0, sizeof *ret);
    brooklet_batch batch = {input, NULL};
    if (input->headers.is_some) {
        batch.header_starts = brooklet_alloc((records + 1) * sizeof(size_t));
        batch.header_starts[0] = 0;
        for (size_t i = 0; i < records; i++) {
            batch.header_starts[i + 1] = batch.header_starts[i] + input->headers.val.counts.ptr[i];
        }
    }
    kept *all = brooklet_alloc(records * sizeof(kept));
    for (size_t i = 0; i < records; i++) {
        kept *next = &all[count];
        *next = (kept){.record = {&batch, (uint32_t)i}};
        switch (brooklet_plugin.record(&next->record, &next->change)) {
        case BROOKLET_KEEP:
            next->change.touched = 0;
            count++;
            break;
        case BROOKLET_CHANGE:
            touched |= next->change.touched;
            count++;
            break;
        case BROOKLET_REJECT:
            add_reject(ret, records, (uint32_t)i, &next->change);
            break;
        case BROOKLET_DROP:
            break;
        }
    }
    if (touched != 0) {
        ret->outcome.tag = EXPORTS_BROOKLET_PLUGIN_TRANSFORM_OUTCOME_EMIT;
        emit(&ret->outcome.val.emit, all, count, records, touched);
    } else if (count == records) {
        ret->outcome.tag = EXPORTS_BROOKLET_PLUGIN_TRANSFORM_OUTCOME_PASS;
    } else {
        ret->outcome.tag = EXPORTS_BROOKLET_PLUGIN_TRANSFORM_OUTCOME_SELECT;
        size_t bytes = (records + 7) / 8;
        uint8_t *bits = checked(calloc(bytes, 1));
        for (size_t i = 0; i < count; i++) bits[all[i].record.index / 8] |= (uint8_t)(1u << all[i].record.index % 8);
        ret->outcome.val.select.ptr = bits;
        ret->outcome.val.select.len = bytes;
    }
    if (brooklet_plugin.batch_done != NULL) brooklet_plugin.batch_done();
    free_blocks();
    exports_brooklet_plugin_transform_batch_free(input);
    return true;
}

/* ---- Logs and metrics ----------------------------------------------------------------------------------------- */

static transform_plugin_string_t string_of(brooklet_bytes bytes) {
    return (transform_plugin_string_t){(uint8_t *)bytes.data, bytes.len};
}

/* Pairs as the interface has them; freed by whoever asked for them, the texts are the author's. */
static transform_plugin_list_tuple2_string_string_t pairs_of(const brooklet_pair *pairs, size_t count) {
    transform_plugin_list_tuple2_string_string_t list = {NULL, count};
    if (count > 0) list.ptr = checked(malloc(count * sizeof *list.ptr));
    for (size_t i = 0; i < count; i++) {
        list.ptr[i].f0 = string_of(pairs[i].name);
        list.ptr[i].f1 = string_of(pairs[i].value);
    }
    return list;
}

void brooklet_log(brooklet_level level, brooklet_bytes message, const brooklet_pair *fields, size_t count) {
    if (!brooklet_plugin_log_enabled((brooklet_plugin_log_level_t)level)) return;
    transform_plugin_string_t text = string_of(message);
    transform_plugin_list_tuple2_string_string_t list = pairs_of(fields, count);
    brooklet_plugin_log_log((brooklet_plugin_log_level_t)level, &text, &list);
    free(list.ptr);
}

brooklet_counter brooklet_counter_new(brooklet_bytes name, const brooklet_pair *labels, size_t count) {
    transform_plugin_string_t text = string_of(name);
    transform_plugin_list_tuple2_string_string_t list = pairs_of(labels, count);
    brooklet_plugin_metrics_own_counter_t own = brooklet_plugin_metrics_constructor_counter(&text, &list);
    free(list.ptr);
    return (brooklet_counter){own.__handle};
}

void brooklet_counter_add(brooklet_counter counter, uint64_t n) {
    brooklet_plugin_metrics_method_counter_add((brooklet_plugin_metrics_borrow_counter_t){counter.handle}, n);
}

brooklet_gauge brooklet_gauge_new(brooklet_bytes name, const brooklet_pair *labels, size_t count) {
    transform_plugin_string_t text = string_of(name);
    transform_plugin_list_tuple2_string_string_t list = pairs_of(labels, count);
    brooklet_plugin_metrics_own_gauge_t own = brooklet_plugin_metrics_constructor_gauge(&text, &list);
    free(list.ptr);
    return (brooklet_gauge){own.__handle};
}

void brooklet_gauge_set(brooklet_gauge gauge, double value) {
    brooklet_plugin_metrics_method_gauge_set((brooklet_plugin_metrics_borrow_gauge_t){gauge.handle}, value);
}

brooklet_histogram brooklet_histogram_new(brooklet_bytes name, const brooklet_pair *labels, size_t count) {
    transform_plugin_string_t text = string_of(name);
    transform_plugin_list_tuple2_string_string_t list = pairs_of(labels, count);
    brooklet_plugin_metrics_own_histogram_t own = brooklet_plugin_metrics_constructor_histogram(&text, &list);
    free(list.ptr);
    return (brooklet_histogram){own.__handle};
}

void brooklet_histogram_observe(brooklet_histogram histogram, double value) {
    brooklet_plugin_metrics_method_histogram_observe(
        (brooklet_plugin_metrics_borrow_histogram_t){histogram.handle}, value);
}
