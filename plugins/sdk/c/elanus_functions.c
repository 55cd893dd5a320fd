/* The exports of the world `udf`. */
#include "elanus_memory.h"

/* A result of the contract: tag 0 with a column, tag 1 with an error. */
typedef struct {
    uint8_t failed;
    union {
        elanus_column column;
        struct {
            uint8_t tag;
            elanus_text text;
        } error;
    };
} result;

_Static_assert(sizeof(elanus_functions) == 24, "a descriptor as the canonical ABI lays it out");
_Static_assert(sizeof(elanus_signature) == 40, "a signature");
_Static_assert(sizeof(elanus_parameter_type) == 20, "the type of a parameter");
_Static_assert(sizeof(elanus_column) == 32, "a column");
_Static_assert(sizeof(elanus_argument) == 36, "an argument");
_Static_assert(sizeof(result) == 36, "a result of invoke");

ELANUS_EXPORT("scalar-functions", "describe") const elanus_functions *elanus_export_describe(void) {
    return &elanus_library;
}

ELANUS_EXPORT("scalar-functions", "invoke")
result *elanus_export_invoke(uint32_t function, const elanus_argument *arguments, uint32_t count, uint32_t rows) {
    static result answer;
    answer = (result){0};
    elanus_outcome outcome = ELANUS_FAILED("there is no such function");
    if (function < elanus_library.functions.size && count == elanus_library.functions.data[function].parameters.size)
        outcome = elanus_invoke(function, arguments, rows, &answer.column);
    if (outcome.code != ELANUS_DONE) {
        answer = (result){.failed = 1};
        answer.error.tag = outcome.code - 1;
        answer.error.text = outcome.text;
    }
    return &answer;
}

ELANUS_AFTER("scalar-functions", "invoke") void elanus_after_invoke(result *result) {
    (void)result;
    elanus_free_call();
}
