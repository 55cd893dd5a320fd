/* Reciprocal rank fusion (Cormack et al., 2009) of the search with a column: a place near the front of either counts. */
#include <elanus_plugin.h>

static const elanus_needed_column columns[] = {
    {{ELANUS_PARAMETER, ELANUS_TEXT("column")}, {.tag = ELANUS_F64S}},
};

static const elanus_parameter parameters[] = {
    ELANUS_PARAMETER_NEEDED("column", ELANUS_STRING, "The column to rank by, larger is better."),
    ELANUS_PARAMETER_NUMBER("weight", 1, "How much the column counts beside the search."),
    ELANUS_PARAMETER_NUMBER("k", 60, "How much a place far behind still counts."),
};

const elanus_descriptor elanus_reranker = {
    .name = ELANUS_TEXT("fusion"),
    .version = ELANUS_TEXT("1.0.0"),
    .description = ELANUS_TEXT("Reciprocal rank fusion of the search with a column."),
    .columns = ELANUS_LIST(columns),
    .parameters = ELANUS_LIST(parameters),
};

static double weight, k;

elanus_outcome elanus_configure(const elanus_value *values) {
    if (values[0].text.size == 0)
        return ELANUS_REFUSED("column is empty");
    weight = values[1].number;
    k = values[2].number;
    if (weight < 0)
        return ELANUS_REFUSED("weight is negative");
    if (k <= 0)
        return ELANUS_REFUSED("k is not positive");
    return ELANUS_OK;
}

elanus_outcome elanus_rerank(const elanus_request *request, const elanus_candidates *candidates, elanus_ranking *ranking) {
    (void)request;
    const uint32_t count = candidates->distances.size;
    const elanus_column *column = &candidates->columns.data[0].column;
    float *values = elanus_alloc(count * sizeof(float));
    for (uint32_t at = 0; at < count; at++) /* a null and NaN come last */
        values[at] = elanus_is_there(column, at) && column->data.f64s.data[at] == column->data.f64s.data[at]
                         ? (float)column->data.f64s.data[at]
                         : -__builtin_inff();
    const elanus_ranking by_column = elanus_by_score(values, count);
    float *scores = elanus_alloc(count * sizeof(float));
    for (uint32_t place = 0; place < count; place++)
        scores[place] += 1 / (k + place + 1);
    for (uint32_t place = 0; place < count; place++)
        scores[by_column.order.data[place]] += weight / (k + place + 1);
    *ranking = elanus_by_score(scores, count);
    return ELANUS_OK;
}
