/* What a plugin for Brooklet is written with in C: a transform as a function that is called once per record.
 *
 * Columns, blobs and bitmaps end behind this header: authors see records. What a plugin leaves as it is costs no copy.
 * Errors are answers; an `abort` or a trap ends the instance, and the host takes a new one.
 */
#ifndef BROOKLET_H
#define BROOKLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Puts the file with the manifest into the component. Once, in one source file; the path is as the compiler's working
 * directory sees it. */
#define BROOKLET_MANIFEST(FILE)                                              \
    __asm__(".section \".custom_section.brooklet:manifest\",\"\",@\n"       \
            ".incbin \"" FILE "\"\n"                                        \
            ".text\n")

/* Bytes that somebody else owns. Null and empty are two things; null has no bytes. */
typedef struct {
    const uint8_t *data;
    size_t len;
    bool null;
} brooklet_bytes;

#define BROOKLET_NULL ((brooklet_bytes){NULL, 0, true})
/* A literal as bytes. */
#define BROOKLET_TEXT(LITERAL) ((brooklet_bytes){(const uint8_t *)(LITERAL), sizeof(LITERAL) - 1, false})

/* Null equals nothing, not even null. */
bool brooklet_equal(brooklet_bytes a, brooklet_bytes b);
bool brooklet_starts_with(brooklet_bytes bytes, brooklet_bytes prefix);

/* Memory that is there until the batch is done. Never null: where there is none left the instance ends. */
void *brooklet_alloc(size_t len);

/* ---- Records ------------------------------------------------------------------------------------------------ */

typedef struct brooklet_batch brooklet_batch;

/* One record. A column that was not asked for is not there: looking at it ends the instance. */
typedef struct {
    const brooklet_batch *batch;
    uint32_t index; /* in the batch */
} brooklet_record;

typedef struct {
    brooklet_bytes name;
    brooklet_bytes value;
} brooklet_header;

brooklet_bytes brooklet_topic(const brooklet_record *record);
/* -1 where the record has none yet. */
int32_t brooklet_partition(const brooklet_record *record);
brooklet_bytes brooklet_key(const brooklet_record *record);
/* Null is a tombstone. */
brooklet_bytes brooklet_value(const brooklet_record *record);
int64_t brooklet_offset(const brooklet_record *record);
/* Milliseconds since the epoch, UTC. */
int64_t brooklet_timestamp(const brooklet_record *record);
/* The headers in their order. */
size_t brooklet_header_count(const brooklet_record *record);
brooklet_header brooklet_header_at(const brooklet_record *record, size_t index);
/* The last header of that name, as Kafka's `lastHeader` has it; null if there is none or it is null. */
brooklet_bytes brooklet_last_header(const brooklet_record *record, brooklet_bytes name);

/* ---- What becomes of a record -------------------------------------------------------------------------------- */

typedef enum {
    BROOKLET_KEEP,   /* it stays as it is */
    BROOKLET_DROP,   /* it goes */
    BROOKLET_CHANGE, /* what was set takes the place of what it had */
    BROOKLET_REJECT, /* it could not be handled; what becomes of it is the operator's choice */
} brooklet_action;

/* Takes down what changes. The bytes must be there until the batch is done: the record's own, a literal, or
 * brooklet_alloc's. */
typedef struct brooklet_change brooklet_change;

void brooklet_set_key(brooklet_change *change, brooklet_bytes key);
void brooklet_set_value(brooklet_change *change, brooklet_bytes value);
/* All of them. */
void brooklet_set_headers(brooklet_change *change, const brooklet_header *headers, size_t count);
void brooklet_set_timestamp(brooklet_change *change, int64_t timestamp);
/* Why a record could not be handled: a short and stable code, and a message for people. Returns BROOKLET_REJECT. */
brooklet_action brooklet_reject(brooklet_change *change, brooklet_bytes code, brooklet_bytes message);

/* ---- The plugin ---------------------------------------------------------------------------------------------- */

#define BROOKLET_KEYS 1u
#define BROOKLET_VALUES 2u
#define BROOKLET_HEADERS 4u
#define BROOKLET_TIMESTAMPS 8u

/* What an instance works for. */
typedef struct {
    brooklet_bytes plugin_name;
    brooklet_bytes task;
    brooklet_bytes host_version;
} brooklet_context;

typedef struct {
    /* The columns it looks at; what it does not ask for is not copied. */
    unsigned columns;
    /* Called once per instance with the configuration, JSON that fits the manifest's schema and stays where it is.
     * Returns what is wrong with it, in words, or NULL. May be left out. */
    const char *(*configure)(brooklet_bytes config, const brooklet_context *context);
    /* Called once per record. */
    brooklet_action (*record)(const brooklet_record *record, brooklet_change *change);
    /* Called after each batch: count here, once. May be left out. */
    void (*batch_done)(void);
} brooklet_transform;

/* Defined by the author. */
extern const brooklet_transform brooklet_plugin;

/* ---- Logs and metrics ---------------------------------------------------------------------------------------- */

typedef enum { BROOKLET_TRACE, BROOKLET_DEBUG, BROOKLET_INFO, BROOKLET_WARN, BROOKLET_ERROR } brooklet_level;

/* A field of a line, or a label of a series. */
typedef struct {
    brooklet_bytes name;
    brooklet_bytes value;
} brooklet_pair;

/* A line with fields, UTF-8 all of it. It ends in the broker's log and in `brooklet plugin logs`. Never once per
 * record. */
void brooklet_log(brooklet_level level, brooklet_bytes message, const brooklet_pair *fields, size_t count);

/* Handles of metrics, exposed as `brooklet_plugin_custom_…{plugin="…"}`. Made once, in `configure`. */
typedef struct { int32_t handle; } brooklet_counter;
typedef struct { int32_t handle; } brooklet_gauge;
typedef struct { int32_t handle; } brooklet_histogram;

brooklet_counter brooklet_counter_new(brooklet_bytes name, const brooklet_pair *labels, size_t count);
void brooklet_counter_add(brooklet_counter counter, uint64_t n);
brooklet_gauge brooklet_gauge_new(brooklet_bytes name, const brooklet_pair *labels, size_t count);
void brooklet_gauge_set(brooklet_gauge gauge, double value);
brooklet_histogram brooklet_histogram_new(brooklet_bytes name, const brooklet_pair *labels, size_t count);
void brooklet_histogram_observe(brooklet_histogram histogram, double value);

#endif
