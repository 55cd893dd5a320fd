/* Write rerankers and SQL functions for Elanus in C, without a C library.
 *
 * A plugin is one of two worlds. A reranker defines elanus_reranker, elanus_configure and elanus_rerank; a plugin with functions
 * defines elanus_library and elanus_invoke. The rest is in elanus_reranker.c, elanus_functions.c and elanus_memory.c, which are
 * compiled along.
 *
 * The types are those of the contract (plugins/wit/v1) in the memory layout of the component model's canonical ABI: what the host
 * passes is read where it lies, nothing is copied. */
#ifndef ELANUS_PLUGIN_H
#define ELANUS_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- texts, and lists with their lengths ---- */

/* UTF-8, without a zero at the end. */
typedef struct {
    const char *data;
    uint32_t size;
} elanus_text;

/* A text of a string literal, for initializers. */
#define ELANUS_TEXT(literal) {literal, sizeof(literal) - 1}

typedef struct {
    const uint32_t *data;
    uint32_t size;
} elanus_u32s;

typedef struct {
    const float *data;
    uint32_t size;
} elanus_f32s;

typedef struct {
    const double *data;
    uint32_t size;
} elanus_f64s;

typedef struct {
    const int64_t *data;
    uint32_t size;
} elanus_s64s;

typedef struct {
    const uint8_t *data;
    uint32_t size;
} elanus_bytes;

/* Texts one after the other: row i is bytes[offsets[i]..offsets[i + 1]]; elanus_text_at reads one. */
typedef struct {
    elanus_u32s offsets;
    elanus_bytes bytes;
} elanus_texts;

/* Vectors one after the other: row i is values[i * dim..(i + 1) * dim]. */
typedef struct {
    uint32_t dim;
    elanus_f32s values;
} elanus_vectors;

static inline elanus_text elanus_text_at(const elanus_texts *texts, uint32_t row) {
    const uint32_t start = texts->offsets.data[row];
    const elanus_text text = {(const char *)texts->bytes.data + start, texts->offsets.data[row + 1] - start};
    return text;
}

/* ---- columns ---- */

enum {
    ELANUS_F32S,    /* data.f32s */
    ELANUS_F64S,    /* data.f64s */
    ELANUS_S64S,    /* data.s64s */
    ELANUS_BOOLS,   /* data.bytes: 0 or 1 */
    ELANUS_STRINGS, /* data.texts */
    ELANUS_VECTORS, /* data.vectors */
    ELANUS_IPC,     /* data.bytes: an Arrow IPC stream of one column */
};

/* The form in which a column crosses. Of vectors `dim` says how many dimensions, 0: any number. Of ELANUS_IPC `type` is the name
 * of the Arrow type. */
typedef struct {
    uint8_t tag;
    union {
        uint32_t dim;
        elanus_text type;
    };
} elanus_kind;

typedef struct {
    uint8_t tag;
    union {
        elanus_f32s f32s;
        elanus_f64s f64s;
        elanus_s64s s64s;
        elanus_bytes bytes;
        elanus_texts texts;
        elanus_vectors vectors;
    };
} elanus_data;

/* A column. With has_validity, validity is one byte per row: 1 for a value, 0 for a null, whose value means nothing. */
typedef struct {
    elanus_data data;
    uint8_t has_validity;
    elanus_bytes validity;
} elanus_column;

static inline bool elanus_is_there(const elanus_column *column, uint32_t row) {
    return !column->has_validity || column->validity.data[row];
}

/* ---- memory ---- */

/* Zeroed memory. It is gone after the call, except in elanus_configure: there it lasts until the next elanus_configure. When there
 * is no more, the call ends and the host reports it. */
void *elanus_alloc(uint32_t size);

/* ---- the outcome of a call ---- */

enum { ELANUS_DONE, ELANUS_INVALID_ARGUMENT, ELANUS_UNSUPPORTED, ELANUS_INTERNAL };

typedef struct {
    uint8_t code;
    elanus_text text;
} elanus_outcome;

#define ELANUS_OK ((elanus_outcome){ELANUS_DONE, {0, 0}})
/* The call is refused: the literal reaches the user. */
#define ELANUS_REFUSED(literal) ((elanus_outcome){ELANUS_INVALID_ARGUMENT, ELANUS_TEXT(literal)})
#define ELANUS_FAILED(literal) ((elanus_outcome){ELANUS_INTERNAL, ELANUS_TEXT(literal)})

/* ---- rerankers ---- */

enum { ELANUS_BOOLEAN, ELANUS_INTEGER, ELANUS_NUMBER, ELANUS_STRING };

/* The value of a parameter; which member it is says its tag. */
typedef struct {
    uint8_t tag;
    union {
        uint8_t boolean;
        int64_t integer;
        double number;
        elanus_text text;
    };
} elanus_value;

/* A parameter; one without a default must be given. */
typedef struct {
    elanus_text name;
    elanus_text description;
    uint8_t kind;
    struct {
        uint8_t present;
        elanus_value value;
    } standard;
} elanus_parameter;

#define ELANUS_PARAMETER_NUMBER(name, standard, description) \
    {ELANUS_TEXT(name), ELANUS_TEXT(description), ELANUS_NUMBER, {1, {ELANUS_NUMBER, {.number = (standard)}}}}
#define ELANUS_PARAMETER_INTEGER(name, standard, description) \
    {ELANUS_TEXT(name), ELANUS_TEXT(description), ELANUS_INTEGER, {1, {ELANUS_INTEGER, {.integer = (standard)}}}}
#define ELANUS_PARAMETER_BOOLEAN(name, standard, description) \
    {ELANUS_TEXT(name), ELANUS_TEXT(description), ELANUS_BOOLEAN, {1, {ELANUS_BOOLEAN, {.boolean = (standard)}}}}
#define ELANUS_PARAMETER_STRING(name, standard, description) \
    {ELANUS_TEXT(name), ELANUS_TEXT(description), ELANUS_STRING, {1, {ELANUS_STRING, {.text = ELANUS_TEXT(standard)}}}}
/* One that must be given. */
#define ELANUS_PARAMETER_NEEDED(name, kind, description) {ELANUS_TEXT(name), ELANUS_TEXT(description), kind, {0}}

enum {
    ELANUS_NAMED,          /* the column of that name */
    ELANUS_PARAMETER,      /* the column whose name is the value of that text parameter; empty: none */
    ELANUS_PARAMETER_LIST, /* the columns that the value of that text parameter names, separated by commas */
};

typedef struct {
    struct {
        uint8_t tag;
        elanus_text name;
    } source;
    elanus_kind kind;
} elanus_needed_column;

typedef struct {
    elanus_text name;
    elanus_text version;
    elanus_text description;
    struct {
        const elanus_needed_column *data;
        uint32_t size;
    } columns;
    bool needs_vectors;
    bool needs_query_text;
    uint32_t max_candidates; /* 0: as many as the host allows */
    struct {
        const elanus_parameter *data;
        uint32_t size;
    } parameters;
} elanus_descriptor;

/* The length of an array, for the lists above: ELANUS_LIST(columns). */
#define ELANUS_LIST(array) {array, sizeof(array) / sizeof((array)[0])}

typedef struct {
    elanus_text name;
    elanus_column column;
} elanus_named_column;

typedef struct {
    elanus_vectors query_vectors; /* no row when the search had none */
    struct {
        uint8_t present;
        elanus_text text;
    } query_text;
    uint32_t limit; /* how many candidates the caller will use */
} elanus_request;

/* Best first; everything has one entry per candidate. */
typedef struct {
    struct {
        uint8_t are_texts;
        union {
            elanus_s64s integers;
            elanus_texts texts;
        };
    } keys;
    elanus_f32s distances; /* smaller is better; its size is the number of candidates */
    struct {
        const elanus_named_column *data; /* in the order of the descriptor */
        uint32_t size;
    } columns;
    struct {
        uint8_t present; /* when the descriptor asks for them */
        elanus_vectors vectors;
    } vectors;
} elanus_candidates;

/* order[i] is the index of the candidate at place i, scores[i] its score: finite, larger is better. */
typedef struct {
    elanus_u32s order;
    elanus_f32s scores;
} elanus_ranking;

/* Defined by a reranker. */
extern const elanus_descriptor elanus_reranker;

/* The values of the parameters, in the order of the descriptor; their texts last until the next call of this. */
elanus_outcome elanus_configure(const elanus_value *values);

elanus_outcome elanus_rerank(const elanus_request *request, const elanus_candidates *candidates, elanus_ranking *ranking);

/* All candidates by their scores, the largest first; of equal ones the earlier first. */
elanus_ranking elanus_by_score(const float *scores, uint32_t count);

/* Larger is better: 1 / (1 + distance), and 1 - distance for the negative distances of cosines, inner products and scores. */
static inline float elanus_relevance(float distance) {
    return distance < 0 ? 1 - distance : 1 / (1 + distance);
}

/* ---- functions ---- */

enum { ELANUS_IMMUTABLE, ELANUS_STABLE, ELANUS_VOLATILE };
enum {
    ELANUS_NULL_IF_ANY_NULL,  /* a row with a null argument is null, whatever the function says */
    ELANUS_CALLED_WITH_NULLS, /* the function answers with its own nulls */
};

typedef struct {
    elanus_text name;
    elanus_kind kind;
} elanus_parameter_type;

typedef struct {
    elanus_text name;
    elanus_text description;
    struct {
        const elanus_parameter_type *data;
        uint32_t size;
    } parameters;
    elanus_kind returns;
    uint8_t volatility;
    uint8_t nulls;
} elanus_signature;

typedef struct {
    elanus_text name;
    elanus_text version;
    struct {
        const elanus_signature *data;
        uint32_t size;
    } functions;
} elanus_functions;

/* An argument: one value per row, or a column of one row for all of them. */
typedef struct {
    uint8_t is_constant;
    elanus_column column;
} elanus_argument;

/* The row of the column of an argument that belongs to a row of the call. */
static inline uint32_t elanus_row(const elanus_argument *argument, uint32_t row) {
    return argument->is_constant ? 0 : row;
}

/* Defined by a plugin with functions. */
extern const elanus_functions elanus_library;

/* Computes the function at that place of the library for `rows` rows. */
elanus_outcome elanus_invoke(uint32_t function, const elanus_argument *arguments, uint32_t rows, elanus_column *result);

/* ---- what the host may be asked; each needs the right of its name ---- */

#define ELANUS_IMPORT(interface, function) \
    __attribute__((import_module("elanus:plugin/" interface "@1.0.0"), import_name(function)))

/* Milliseconds since 1970 (UTC). */
ELANUS_IMPORT("clock", "now") uint64_t elanus_now(void);

/* 64 bits that are not for secrets. */
ELANUS_IMPORT("random", "next") uint64_t elanus_random(void);

enum { ELANUS_LOG_ERROR, ELANUS_LOG_WARN, ELANUS_LOG_INFO, ELANUS_LOG_DEBUG };

/* A line in the host's log. */
ELANUS_IMPORT("log", "write") void elanus_log(uint32_t level, const char *data, uint32_t size);

#ifdef __cplusplus
}
#endif

#endif
