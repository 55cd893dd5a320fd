// The nearest of a few rows for each of many queries, as k-means asks for it: the tiles of `candidates`, of which only the
// least distance of a query is kept. Keys order by distance, then row, so that the answer does not depend on who comes first.

// 256 threads; blocks: tiles of 128 rows x tiles of 128 queries. `nearest` has a key for each query, all bits set at first.
KERNEL __launch_bounds__(256, 2) nearest_128(const float* rows, const float* row_terms, u32 count, const float* queries,
                                             const float* query_terms, u32 query_count, u32 stride, u32 metric,
                                             u64* nearest) {
    __shared__ __align__(16) float row_columns[2 * DEPTH * ROW_PITCH];
    __shared__ __align__(16) float query_columns[2 * DEPTH * (128 + 4)];
    __shared__ u64 best[128];
    const u32 query_tiles = (query_count + 127) / 128;
    const u32 first_query = (blockIdx.x % query_tiles) * 128, first_row = (blockIdx.x / query_tiles) * TILE_ROWS;
    const u32 across = threadIdx.x & 15u, down = threadIdx.x >> 4;
    if (threadIdx.x < 128) best[threadIdx.x] = ~0ull;
    float sums[8][8];
    // Its barriers come between the first and the next use of `best`.
    add_up<FloatRows, 8>(sums, rows, first_row, count, queries, first_query, query_count, stride, metric, row_columns,
              query_columns);
#pragma unroll
    for (u32 j = 0; j < 8; ++j) {
        u32 place = place_of<8>(across, j), query = first_query + place;
        if (query >= query_count) continue;
        Term query_terms_of = query_part(metric, query_terms[query]);
        u64 least = ~0ull;
#pragma unroll
        for (u32 i = 0; i < 8; ++i) {
            u32 row = first_row + place_of<8>(down, i);
            if (row >= count) continue;
            u64 key = key_of(distance_of(sums[i][j], query_terms_of, row_part(metric, row_terms[row])), row);
            least = key < least ? key : least;
        }
        atomicMin(&best[place], least);
    }
    __syncthreads();
    if (threadIdx.x < 128 && first_query + threadIdx.x < query_count) {
        atomicMin(&nearest[first_query + threadIdx.x], best[threadIdx.x]);
    }
}
