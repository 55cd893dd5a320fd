// Distances of a batch of queries to a range of rows, as a tiled matrix product whose epilogue keeps only what is not beyond
// the query's bound: the matrix of distances is never written.
//
//                 rows  first .. first + count, 128 to a block
//               +-------------------------------+
//     queries   |  8 rows x 8 (or 2) queries    |   every thread adds up its own patch, 8 dimensions at a time,
//     128 or 32 |  to a thread, 16 x 16 threads |   from two alternating buffers in shared memory
//               +-------------------------------+
//
// Blocks that share rows follow each other, so that rows come from memory once and from the cache after that.

#define TILE_ROWS 128u
#define DEPTH 8u
// Rows of a column of shared memory, with one float4 to keep columns in different banks.
#define ROW_PITCH (TILE_ROWS + 4u)

// Four units of a row, or of a query; zeros where there is no such row.
template <class Rows>
__device__ __forceinline__ typename Rows::Four row_or_nothing(const float* rows, u32 row, u32 end, u32 stride, u32 at) {
    if (row >= end || at >= stride) return Rows::nothing();
    return Rows::row4(rows, row, stride, at);
}
template <class Rows>
__device__ __forceinline__ typename Rows::Four query_or_nothing(const float* queries, u32 query, u32 end, u32 stride,
                                                                u32 at) {
    if (query >= end || at >= stride) return Rows::nothing();
    return Rows::query4(queries, query, stride, at);
}

// Stores four units of a row as a part of four columns.
template <class Unit, class Four>
__device__ __forceinline__ void store_columns(Unit* columns, u32 pitch, u32 place, u32 at, Four value) {
    columns[(at + 0) * pitch + place] = value.x;
    columns[(at + 1) * pitch + place] = value.y;
    columns[(at + 2) * pitch + place] = value.z;
    columns[(at + 3) * pitch + place] = value.w;
}

// Which of the rows (or queries) of a tile a thread's `index`th is: two groups of four, half a tile apart, so that the
// threads of a warp read neighbouring float4.
template <u32 MINE>
__device__ __forceinline__ u32 place_of(u32 thread, u32 index) {
    return MINE == 8 ? (index >> 2) * 64 + thread * 4 + (index & 3) : thread * MINE + index;
}

// What a thread needs of a column: the units at its `place_of`s, four at a time.
template <class Rows, u32 MINE>
__device__ __forceinline__ void load_places(typename Rows::Unit (&mine)[MINE], const typename Rows::Unit* column, u32 thread) {
    if constexpr (MINE == 8) {
#pragma unroll
        for (u32 group = 0; group < 2; ++group) {
            typename Rows::Four four =
                *reinterpret_cast<const typename Rows::Four*>(column + place_of<MINE>(thread, 4 * group));
            mine[4 * group] = four.x;
            mine[4 * group + 1] = four.y;
            mine[4 * group + 2] = four.z;
            mine[4 * group + 3] = four.w;
        }
    } else {
#pragma unroll
        for (u32 index = 0; index < MINE; ++index) mine[index] = column[place_of<MINE>(thread, index)];
    }
}

// Adds the products (or differences) of `DEPTH` units to a thread's patch.
template <class Rows, u32 MINE, bool DIFFERENCES>
__device__ __forceinline__ void multiply(typename Rows::Sum (&sums)[8][MINE], const typename Rows::Unit* rows,
                                         const typename Rows::Unit* queries, u32 query_pitch, u32 across, u32 down) {
#pragma unroll (DIFFERENCES ? 1 : Rows::UNROLLED)
    for (u32 k = 0; k < DEPTH; ++k) {
        typename Rows::Unit mine_rows[8], mine_queries[MINE];
        load_places<Rows, 8>(mine_rows, rows + k * ROW_PITCH, down);
        load_places<Rows, MINE>(mine_queries, queries + k * query_pitch, across);
#pragma unroll
        for (u32 i = 0; i < 8; ++i)
#pragma unroll
            for (u32 j = 0; j < MINE; ++j) Rows::template add<DIFFERENCES>(sums[i][j], mine_queries[j], mine_rows[i]);
    }
}

// Adds up a tile: what a thread's patch of rows and queries comes to. Everybody in the block takes part, and nobody reads the
// columns any more when it is done.
template <class Rows, u32 MINE>
__device__ __forceinline__ void add_up(typename Rows::Sum (&sums)[8][MINE], const float* rows, u32 first_row, u32 end,
                                       const float* queries, u32 first_query, u32 query_count, u32 stride, u32 metric,
                                       typename Rows::Unit* row_columns, typename Rows::Unit* query_columns) {
    const u32 tile_queries = 16 * MINE, query_pitch = tile_queries + 4;
    const u32 across = threadIdx.x & 15u, down = threadIdx.x >> 4;
    // Each thread carries four units of the rows, and of the queries when there are as many.
    const u32 carried = threadIdx.x >> 1, carried_at = (threadIdx.x & 1u) * 4;
    const bool carries_query = carried < tile_queries;
    typename Rows::Four next_row = row_or_nothing<Rows>(rows, first_row + carried, end, stride, carried_at);
    typename Rows::Four next_query = Rows::nothing();
    if (carries_query) {
        next_query = query_or_nothing<Rows>(queries, first_query + carried, query_count, stride, carried_at);
    }
#pragma unroll
    for (u32 i = 0; i < 8; ++i)
#pragma unroll
        for (u32 j = 0; j < MINE; ++j) sums[i][j] = 0;

    u32 turn = 0;
    for (u32 depth = 0; depth < stride; depth += DEPTH) {
        typename Rows::Unit* tile_rows = row_columns + turn * DEPTH * ROW_PITCH;
        typename Rows::Unit* tile_queries_now = query_columns + turn * DEPTH * query_pitch;
        store_columns(tile_rows, ROW_PITCH, carried, carried_at, next_row);
        if (carries_query) store_columns(tile_queries_now, query_pitch, carried, carried_at, next_query);
        // One barrier is enough: the buffer of the other turn was last read before it.
        __syncthreads();
        u32 ahead = depth + DEPTH;
        if (ahead < stride) {
            next_row = row_or_nothing<Rows>(rows, first_row + carried, end, stride, ahead + carried_at);
            if (carries_query) {
                next_query =
                    query_or_nothing<Rows>(queries, first_query + carried, query_count, stride, ahead + carried_at);
            }
        }
        if (Rows::by_differences(metric)) {
            multiply<Rows, MINE, true>(sums, tile_rows, tile_queries_now, query_pitch, across, down);
        } else {
            multiply<Rows, MINE, false>(sums, tile_rows, tile_queries_now, query_pitch, across, down);
        }
        turn ^= 1u;
    }
    __syncthreads();
}

template <class Rows, u32 MINE>
__device__ __forceinline__ void tile(
    const float* rows, const float* row_terms, const u32* allow, u32 first, u32 count, u32 base,
    const float* queries, const float* query_terms, const float* bounds, u32 query_count,
    u32 stride, u32 metric, const Lists& lists, typename Rows::Unit* row_columns, typename Rows::Unit* query_columns,
    u32* any) {
    const u32 tile_queries = 16 * MINE;
    const u32 query_tiles = (query_count + tile_queries - 1) / tile_queries;
    const u32 first_query = (blockIdx.x % query_tiles) * tile_queries;
    const u32 first_row = first + (blockIdx.x / query_tiles) * TILE_ROWS;
    const u32 end = first + count;
    const u32 across = threadIdx.x & 15u, down = threadIdx.x >> 4;

    // A filter often leaves nothing of a tile.
    if (threadIdx.x == 0) *any = allow == nullptr;
    __syncthreads();
    if (allow != nullptr && threadIdx.x < TILE_ROWS) {
        u32 row = first_row + threadIdx.x;
        if (row < end && is_allowed(allow, row)) *any = 1;
    }
    __syncthreads();
    if (*any == 0) return;

    typename Rows::Sum sums[8][MINE];
    add_up<Rows, MINE>(sums, rows, first_row, end, queries, first_query, query_count, stride, metric, row_columns,
                 query_columns);

    // Few distances pass. Those of one query at a time are put where a loop can pick them: thread `t` has places
    // `t + 256 * i` of what held the rows.
    float* const spare = reinterpret_cast<float*>(row_columns);
    typename Rows::Part row_terms_of[8];
    u32 present = 0;
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        u32 row = first_row + place_of<8>(down, i);
        bool wanted = row < end && is_allowed(allow, row);
        row_terms_of[i] = Rows::of_row(metric, wanted ? row_terms[row] : 0.0f);
        present |= u32(wanted) << i;
    }
#pragma unroll
    for (u32 j = 0; j < MINE; ++j) {
        u32 query = first_query + place_of<MINE>(across, j);
        if (query >= query_count) continue;
        float bound = bounds[query];
        typename Rows::Part query_terms_of = Rows::of_query(metric, query_terms[query]);
        u32 passing = 0;
#pragma unroll
        for (u32 i = 0; i < 8; ++i) {
            float distance = Rows::distance(sums[i][j], query_terms_of, row_terms_of[i]);
            spare[threadIdx.x + 256 * i] = distance;
            passing |= u32(Rows::passes(distance, bound)) << i;
        }
        for (passing &= present; passing != 0; passing &= passing - 1) {
            u32 i = u32(__ffs(int(passing))) - 1;
            append(lists, query, spare[threadIdx.x + 256 * i], base + first_row + place_of<8>(down, i));
        }
    }
}

// Few queries: the rows are read once, which is all that matters. A warp takes four rows at a time, each lane its share of
// the dimensions, and the lanes add up in the end.
#define WARP_ROWS 4u

template <class Rows, u32 QUERIES>
__device__ __forceinline__ void stripes(
    const float* rows, const float* row_terms, const u32* allow, u32 first, u32 count, u32 base,
    const float* queries, const float* query_terms, const float* bounds, u32 query_count,
    u32 stride, u32 metric, const Lists& lists) {
    const u32 lane = threadIdx.x & 31u, end = first + count;
    const u32 warps = gridDim.x * (blockDim.x >> 5);
    const u32 stripes = (count + WARP_ROWS - 1) / WARP_ROWS;
    for (u32 stripe = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); stripe < stripes; stripe += warps) {
        const u32 stripe_row = first + stripe * WARP_ROWS;
        bool wanted = false;
        for (u32 i = 0; i < WARP_ROWS; ++i) {
            wanted = wanted || (stripe_row + i < end && is_allowed(allow, stripe_row + i));
        }
        if (!wanted) continue;
        typename Rows::Sum sums[WARP_ROWS][QUERIES];
#pragma unroll
        for (u32 i = 0; i < WARP_ROWS; ++i)
#pragma unroll
            for (u32 j = 0; j < QUERIES; ++j) sums[i][j] = 0;
        for (u32 at = lane * 4; at < stride; at += 128) {
            typename Rows::Four row[WARP_ROWS];
#pragma unroll
            for (u32 i = 0; i < WARP_ROWS; ++i) row[i] = row_or_nothing<Rows>(rows, stripe_row + i, end, stride, at);
#pragma unroll
            for (u32 j = 0; j < QUERIES; ++j) {
                typename Rows::Four query = query_or_nothing<Rows>(queries, j, query_count, stride, at);
#pragma unroll
                for (u32 i = 0; i < WARP_ROWS; ++i) {
                    if (Rows::by_differences(metric)) {
                        add4<Rows, true>(sums[i][j], query, row[i]);
                    } else {
                        add4<Rows, false>(sums[i][j], query, row[i]);
                    }
                }
            }
        }
        // Every lane has every sum after this; lane `i * QUERIES + j` looks after that of row `i` and query `j`.
        typename Rows::Sum sum = 0;
#pragma unroll
        for (u32 i = 0; i < WARP_ROWS; ++i)
#pragma unroll
            for (u32 j = 0; j < QUERIES; ++j) {
                typename Rows::Sum whole = warp_sum(sums[i][j]);
                if (lane == i * QUERIES + j) sum = whole;
            }
        u32 row = stripe_row + lane / QUERIES, query = lane % QUERIES;
        if (lane < WARP_ROWS * QUERIES && row < end && query < query_count && is_allowed(allow, row)) {
            float distance = Rows::distance(sum, Rows::of_query(metric, query_terms[query]),
                                            Rows::of_row(metric, row_terms[row]));
            if (Rows::passes(distance, bounds[query])) append(lists, query, distance, base + row);
        }
    }
}

#define CANDIDATES_ARGUMENTS                                                                                         \
    const float *rows, const float *row_terms, const u32 *allow, u32 first, u32 count, u32 base,                      \
        const float *queries, const float *query_terms, const float *bounds, u32 query_count, u32 stride, u32 metric, \
        float *distances, u32 *found, u32 *counts, u32 room
#define CANDIDATES_OF                                                                                                \
    rows, row_terms, allow, first, count, base, queries, query_terms, bounds, query_count, stride, metric,            \
        Lists { distances, found, counts, room }
#define CANDIDATES_COLUMNS(ROWS, QUERIES)                                                                            \
    __shared__ __align__(16) ROWS::Unit row_columns[2 * DEPTH * ROW_PITCH];                                           \
    __shared__ __align__(16) ROWS::Unit query_columns[2 * DEPTH * (QUERIES + 4)];                                     \
    __shared__ u32 any;

// candidates_128, candidates_32: 256 threads; blocks: tiles of 128 rows x tiles of 128 or 32 queries.
// candidates_4, candidates_1: blocks of 256 threads, any number of them; at most 4 queries, or one.
#define CANDIDATES_KERNELS(ROWS, SUFFIX)                                                                             \
    KERNEL __launch_bounds__(256, 2) candidates_128##SUFFIX(CANDIDATES_ARGUMENTS) {                                   \
        CANDIDATES_COLUMNS(ROWS, 128)                                                                                 \
        tile<ROWS, 8>(CANDIDATES_OF, row_columns, query_columns, &any);                                               \
    }                                                                                                                 \
    KERNEL __launch_bounds__(256) candidates_32##SUFFIX(CANDIDATES_ARGUMENTS) {                                       \
        CANDIDATES_COLUMNS(ROWS, 32)                                                                                  \
        tile<ROWS, 2>(CANDIDATES_OF, row_columns, query_columns, &any);                                               \
    }                                                                                                                 \
    KERNEL __launch_bounds__(256) candidates_4##SUFFIX(CANDIDATES_ARGUMENTS) { stripes<ROWS, 4>(CANDIDATES_OF); }     \
    KERNEL __launch_bounds__(256) candidates_1##SUFFIX(CANDIDATES_ARGUMENTS) { stripes<ROWS, 1>(CANDIDATES_OF); }
FOR_EACH_ELEMENT(CANDIDATES_KERNELS)
