/* The exports of the world `reranker`. */
#include "elanus_memory.h"

/* As many as the host lets a plugin declare. */
#define MOST_PARAMETERS 64

typedef struct {
    elanus_text name;
    elanus_value value;
} argument;

typedef struct {
    elanus_request request;
    elanus_candidates candidates;
} call;

/* A result of the contract: tag 0 with a ranking or nothing, tag 1 with an error. */
typedef struct {
    uint8_t failed;
    union {
        elanus_ranking ranking;
        struct {
            uint8_t tag;
            elanus_text text;
        } error;
    };
} result;

_Static_assert(sizeof(elanus_descriptor) == 48, "a descriptor as the canonical ABI lays it out");
_Static_assert(sizeof(elanus_needed_column) == 24, "a needed column");
_Static_assert(sizeof(elanus_parameter) == 48, "a parameter");
_Static_assert(sizeof(argument) == 24, "an argument");
_Static_assert(sizeof(elanus_named_column) == 40, "a named column");
_Static_assert(sizeof(call) == 80, "a call of rerank");
_Static_assert(sizeof(result) == 20, "a result of rerank");

static result *answer(elanus_outcome outcome, const elanus_ranking *ranking) {
    static result answer;
    answer = (result){.failed = outcome.code != ELANUS_DONE};
    if (answer.failed) {
        answer.error.tag = outcome.code - 1;
        answer.error.text = outcome.text;
    } else if (ranking) {
        answer.ranking = *ranking;
    }
    return &answer;
}

ELANUS_EXPORT("reranking", "describe") const elanus_descriptor *elanus_export_describe(void) {
    return &elanus_reranker;
}

ELANUS_EXPORT("reranking", "configure") result *elanus_export_configure(const argument *arguments, uint32_t count) {
    static elanus_value values[MOST_PARAMETERS];
    if (count > MOST_PARAMETERS)
        return answer(ELANUS_FAILED("more parameters than a plugin in C can take"), 0);
    for (uint32_t at = 0; at < count; at++)
        values[at] = arguments[at].value;
    /* The last configuration gives way to this one: the texts, which lie behind it in this order, move down to its start. */
    char *end = elanus_bottom();
    for (uint32_t at = 0; at < count; at++) {
        if (values[at].tag != ELANUS_STRING)
            continue;
        elanus_text *text = &values[at].text;
        __builtin_memmove(end, text->data, text->size);
        text->data = end;
        end += text->size;
    }
    elanus_free_to((char *)(((uintptr_t)end + 15) & ~(uintptr_t)15));
    const elanus_outcome outcome = elanus_configure(values);
    elanus_keep();
    return answer(outcome, 0);
}

ELANUS_EXPORT("reranking", "rerank") result *elanus_export_rerank(const call *call) {
    elanus_ranking ranking = {{0, 0}, {0, 0}};
    const elanus_outcome outcome = elanus_rerank(&call->request, &call->candidates, &ranking);
    return answer(outcome, &ranking);
}

ELANUS_AFTER("reranking", "configure") void elanus_after_configure(result *result) {
    (void)result;
    elanus_free_call();
}

ELANUS_AFTER("reranking", "rerank") void elanus_after_rerank(result *result) {
    (void)result;
    elanus_free_call();
}

typedef struct {
    float score;
    uint32_t index;
} place;

static bool before(place one, place other) {
    return one.score > other.score || (one.score == other.score && one.index < other.index);
}

/* Merge sort, bottom up. */
elanus_ranking elanus_by_score(const float *scores, uint32_t count) {
    place *from = elanus_alloc(count * sizeof(place));
    place *to = elanus_alloc(count * sizeof(place));
    for (uint32_t at = 0; at < count; at++)
        from[at] = (place){scores[at], at};
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t start = 0; start < count; start += 2 * width) {
            const uint32_t middle = start + width < count ? start + width : count;
            const uint32_t end = middle + width < count ? middle + width : count;
            uint32_t left = start, right = middle;
            for (uint32_t at = start; at < end; at++) {
                const bool take_left = left < middle && (right == end || before(from[left], from[right]));
                to[at] = from[take_left ? left++ : right++];
            }
        }
        place *swap = from;
        from = to;
        to = swap;
    }
    uint32_t *order = elanus_alloc(count * sizeof(uint32_t));
    float *sorted = elanus_alloc(count * sizeof(float));
    for (uint32_t at = 0; at < count; at++) {
        order[at] = from[at].index;
        sorted[at] = from[at].score;
    }
    return (elanus_ranking){{order, count}, {sorted, count}};
}
