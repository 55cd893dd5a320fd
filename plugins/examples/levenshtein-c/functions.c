/* levenshtein(a, b): how many bytes have to be inserted, deleted or replaced to make one text the other. */
#include <elanus_plugin.h>

static const elanus_parameter_type texts[] = {
    {ELANUS_TEXT("a"), {.tag = ELANUS_STRINGS}},
    {ELANUS_TEXT("b"), {.tag = ELANUS_STRINGS}},
};

static const elanus_signature signatures[] = {
    {
        .name = ELANUS_TEXT("levenshtein"),
        .description = ELANUS_TEXT("Edit distance of two texts in bytes."),
        .parameters = ELANUS_LIST(texts),
        .returns = {.tag = ELANUS_S64S},
        .volatility = ELANUS_IMMUTABLE,
        .nulls = ELANUS_NULL_IF_ANY_NULL,
    },
};

const elanus_functions elanus_library = {
    .name = ELANUS_TEXT("edit-distance"),
    .version = ELANUS_TEXT("1.0.0"),
    .functions = ELANUS_LIST(signatures),
};

/* Wagner and Fischer (1974), one row of the table at a time; `table` has b.size + 1 entries. */
static int64_t distance(elanus_text a, elanus_text b, uint32_t *table) {
    for (uint32_t column = 0; column <= b.size; column++)
        table[column] = column;
    for (uint32_t row = 0; row < a.size; row++) {
        uint32_t diagonal = table[0];
        table[0] = row + 1;
        for (uint32_t column = 0; column < b.size; column++) {
            const uint32_t above = table[column + 1], left = table[column];
            uint32_t best = diagonal + (a.data[row] != b.data[column]);
            if (above + 1 < best)
                best = above + 1;
            if (left + 1 < best)
                best = left + 1;
            table[column + 1] = best;
            diagonal = above;
        }
    }
    return table[b.size];
}

elanus_outcome elanus_invoke(uint32_t function, const elanus_argument *arguments, uint32_t rows, elanus_column *result) {
    (void)function; /* there is one */
    const elanus_texts *a = &arguments[0].column.data.texts, *b = &arguments[1].column.data.texts;
    int64_t *distances = elanus_alloc(rows * sizeof(int64_t));
    uint32_t *table = elanus_alloc((b->bytes.size + 1) * sizeof(uint32_t));
    for (uint32_t row = 0; row < rows; row++) {
        const elanus_text left = elanus_text_at(a, elanus_row(&arguments[0], row));
        const elanus_text right = elanus_text_at(b, elanus_row(&arguments[1], row));
        distances[row] = distance(left, right, table);
    }
    result->data.tag = ELANUS_S64S;
    result->data.s64s.data = distances;
    result->data.s64s.size = rows;
    return ELANUS_OK;
}
