// Scans inverted lists. The rows of a list lie in groups of 32, interleaved: first 16 bytes of each of the 32 rows, then the next 16
// of each, and so on, the last of them filled up with zeros. So a lane follows one row, a warp reads 512 bytes at a time, and no lane
// waits for another.
//
//   list 0                     list 1
//   | group 0 | group 1 ...    | group 7 ...         starts = 0, 7, ..
//   | r0[0..4] r1[0..4] .. r31[0..4] | r0[4..8] r1[4..8] ..       words of each row

// What 16 bytes of a row hold: `FOURS` times four units.
template <class Rows>
struct Chunk {
    typedef typename Rows::Four Words;
    static constexpr u32 FOURS = 1;
    __device__ static __forceinline__ typename Rows::Four four(Words words, u32) { return words; }
};

// Of rows with two numbers to a word.
template <class Rows>
struct PairChunk {
    typedef uint4 Words;
    static constexpr u32 FOURS = 2;
    __device__ static __forceinline__ typename Rows::Four four(Words words, u32 which) {
        return which == 0 ? Rows::four_of(words.x, words.y) : Rows::four_of(words.z, words.w);
    }
};
template <>
struct Chunk<HalfRows> : PairChunk<HalfRows> {};
template <>
struct Chunk<BFloat16Rows> : PairChunk<BFloat16Rows> {};

// Four units are summed before they are added to those before them.
template <class Rows, bool DIFFERENCES>
__device__ __forceinline__ void add_four(float& sum, float4 query, float4 row) {
    if (DIFFERENCES) {
        const float x = query.x - row.x, y = query.y - row.y, z = query.z - row.z, w = query.w - row.w;
        sum += x * x + y * y + z * z + w * w;
    } else {
        sum += query.x * row.x + query.y * row.y + query.z * row.z + query.w * row.w;
    }
}

// Whole numbers have the same sum in any order.
template <class Rows, bool DIFFERENCES>
__device__ __forceinline__ void add_four(int& sum, uint4 query, uint4 row) {
    add4<Rows, DIFFERENCES>(sum, query, row);
}

template <class Rows>
__device__ __forceinline__ void add_by(typename Rows::Sum& sum, u32 metric, typename Rows::Four query,
                                       typename Rows::Four row) {
    if (Rows::by_differences(metric)) {
        add_four<Rows, true>(sum, query, row);
    } else {
        add_four<Rows, false>(sum, query, row);
    }
}

// The sum over the dimensions of a query and a row, whose chunks are 32 apart.
template <class Rows>
__device__ __forceinline__ typename Rows::Sum list_sum(const typename Chunk<Rows>::Words* of_row,
                                                       const typename Rows::Four* of_query, u32 stride, u32 metric) {
    const u32 fours = stride / 4, chunks = fours / Chunk<Rows>::FOURS;
    typename Rows::Sum sum = 0;
#pragma unroll (4 / Chunk<Rows>::FOURS)
    for (u32 chunk = 0; chunk < chunks; ++chunk) {
        const typename Chunk<Rows>::Words words = of_row[u64(chunk) * 32];
#pragma unroll
        for (u32 which = 0; which < Chunk<Rows>::FOURS; ++which) {
            add_by<Rows>(sum, metric, of_query[chunk * Chunk<Rows>::FOURS + which], Chunk<Rows>::four(words, which));
        }
    }
    // The query ends in the middle of the last chunk.
    if (chunks * Chunk<Rows>::FOURS < fours) {
        add_by<Rows>(sum, metric, of_query[fours - 1], Chunk<Rows>::four(of_row[u64(chunks) * 32], 0));
    }
    return sum;
}

// Looks at the lists `probes[first_probe ..]` of each query, `probe_count` of them, out of `probe_room` places. Appends the rows that
// are allowed and not beyond the query's bound, and counts in `seen` all that are allowed.
template <class Rows>
__device__ __forceinline__ void scan_rows(const float* rows, const float* row_terms, const u32* numbers, const u32* starts,
                                          const u32* allow, const float* queries, const float* query_terms,
                                          const float* bounds, u32 stride, u32 metric, const u32* probes, u32 probe_room,
                                          u32 first_probe, u32 probe_count, u32 splits, u32* seen, const Lists& lists) {
    typedef typename Chunk<Rows>::Words Words;
    const u32 pair = blockIdx.x / splits, split = blockIdx.x % splits;
    const u32 query = pair / probe_count;
    const u32 list = probes[u64(query) * probe_room + first_probe + pair % probe_count];
    const u32 lane = threadIdx.x & 31u, warps = blockDim.x >> 5, end = starts[list + 1];
    const u32 chunks = (stride / 4 + Chunk<Rows>::FOURS - 1) / Chunk<Rows>::FOURS;
    const bool of_each = metric == METRIC_L2 || metric == METRIC_COSINE || metric == METRIC_JACCARD;
    const typename Rows::Four* const of_query =
        reinterpret_cast<const typename Rows::Four*>(queries + u64(query) * stride);
    const typename Rows::Part query_part = Rows::of_query(metric, query_terms[query]);
    const float bound = bounds[query];
    u32 looked_at = 0;
    for (u32 group = starts[list] + split * warps + (threadIdx.x >> 5); group < end; group += warps * splits) {
        const u64 place = u64(group) * 32 + lane;
        const u32 number = numbers[place];
        const bool wanted = number != NO_ROW && is_allowed(allow, number);
        const u32 all = __ballot_sync(ALL_LANES, wanted);
        if (all == 0) continue;
        looked_at += u32(__popc(int(all)));
        float distance = 0.0f;
        if (wanted) {
            const Words* const of_row = reinterpret_cast<const Words*>(rows) + u64(group) * chunks * 32 + lane;
            const typename Rows::Sum sum = list_sum<Rows>(of_row, of_query, stride, metric);
            distance = Rows::distance(sum, query_part, Rows::of_row(metric, row_terms[of_each ? place : 0]));
        }
        // Rows of a list are in no order of all: one that is as near as the bound may come first.
        append_warp(lists, query, wanted && distance <= bound, distance, number);
    }
    if (lane == 0 && looked_at > 0) atomicAdd(&seen[query], looked_at);
}

// scan_lists: 256 threads; blocks: queries x probes x `splits` parts of a list.
#define LIST_KERNELS(ROWS, SUFFIX)                                                                                   \
    KERNEL __launch_bounds__(256) scan_lists##SUFFIX(                                                                 \
        const float* rows, const float* row_terms, const u32* numbers, const u32* starts, const u32* allow,           \
        const float* queries, const float* query_terms, const float* bounds, u32 stride, u32 metric,                  \
        const u32* probes, u32 probe_room, u32 first_probe, u32 probe_count, u32 splits, u32* seen,                   \
        float* distances, u32* found, u32* counts, u32 room) {                                                        \
        scan_rows<ROWS>(rows, row_terms, numbers, starts, allow, queries, query_terms, bounds, stride, metric,        \
                        probes, probe_room, first_probe, probe_count, splits, seen,                                   \
                        Lists{distances, found, counts, room});                                                       \
    }
FOR_EACH_ELEMENT(LIST_KERNELS)
