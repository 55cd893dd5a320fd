// What every kernel starts with. NVRTC has no standard headers, and none is needed.
//
// Buffers hold 32-bit words. Rows and queries are row-major with `stride` floats each, a multiple of 4, zeros after the
// dimension. Every launch is one-dimensional. Warps are always whole: blocks have a multiple of 32 threads, and no thread
// leaves before the last exchange of its warp.

typedef unsigned int u32;
typedef unsigned long long u64;

#define KERNEL extern "C" __global__ void
#define ALL_LANES 0xffffffffu

// What stands where there is no row, and no link.
#define NO_ROW 0xffffffffu

// The metrics of `Metric`, and L2 by differences instead of by products.
#define METRIC_L2 0u
#define METRIC_IP 1u
#define METRIC_COSINE 2u
#define METRIC_L2_DIRECT 3u

// Bits of `value` as an integer with the order of the numbers.
__device__ __forceinline__ u32 ordered_bits(float value) {
    u32 bits = __float_as_uint(value);
    return bits ^ (u32(int(bits) >> 31) | 0x80000000u);
}

// Undoes `ordered_bits`.
__device__ __forceinline__ float from_ordered_bits(u32 bits) {
    return __uint_as_float(bits ^ (u32(int(~bits) >> 31) | 0x80000000u));
}

// The sum of a value over the lanes of a warp, in every lane.
__device__ __forceinline__ float warp_sum(float value) {
    for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// Whether a search may return a row of the resident or uploaded part; `allow` is null when it may return all.
__device__ __forceinline__ bool is_allowed(const u32* allow, u32 row) {
    return allow == nullptr || ((allow[row >> 5] >> (row & 31u)) & 1u);
}

// What turns a sum over the dimensions into a distance, smaller is better: `plus + sum * times`, the parts of which come
// from the query and from the row. One form for every metric keeps the kernels short.
struct Term {
    float plus, times;
};

__device__ __forceinline__ Term query_part(u32 metric, float term) {
    if (metric == METRIC_L2) return {term, -2.0f};
    if (metric == METRIC_COSINE) return {0.0f, -term};
    return {0.0f, metric == METRIC_IP ? -1.0f : 1.0f};
}

__device__ __forceinline__ Term row_part(u32 metric, float term) {
    if (metric == METRIC_L2) return {term, 1.0f};
    return {0.0f, metric == METRIC_COSINE ? term : 1.0f};
}

// What is no number counts as nearest, so that it is looked at again.
__device__ __forceinline__ float distance_of(float sum, Term query, Term row) {
    float distance = (query.plus + row.plus) + (sum * query.times) * row.times;
    return distance == distance ? distance : __uint_as_float(0xff800000u);
}

// The growing lists of a batch: `room` places for each query, of which `counts[query]` are wanted; more than `room` of them
// means that some were lost.
struct Lists {
    float* distances;
    u32* rows;
    u32* counts;
    u32 room;
};

__device__ __forceinline__ void append(const Lists& lists, u32 query, float distance, u32 row) {
    u32 place = atomicAdd(&lists.counts[query], 1u);
    if (place < lists.room) {
        u64 at = u64(query) * lists.room + place;
        lists.distances[at] = distance;
        lists.rows[at] = row;
    }
}

// `append` of the lanes of a warp that have something, with one addition for all of them.
__device__ __forceinline__ void append_warp(const Lists& lists, u32 query, bool passes, float distance, u32 row) {
    const u32 lane = threadIdx.x & 31u;
    const u32 passing = __ballot_sync(ALL_LANES, passes);
    if (passing == 0) return;
    u32 place = 0;
    if (lane == 0) place = atomicAdd(&lists.counts[query], u32(__popc(int(passing))));
    place = __shfl_sync(ALL_LANES, place, 0) + u32(__popc(int(passing & ((1u << lane) - 1u))));
    if (passes && place < lists.room) {
        u64 at = u64(query) * lists.room + place;
        lists.distances[at] = distance;
        lists.rows[at] = row;
    }
}

// Orders by distance, then row.
__device__ __forceinline__ u64 key_of(float distance, u32 row) {
    return (u64(ordered_bits(distance)) << 32) | row;
}
