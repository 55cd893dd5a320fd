// What every kernel starts with. NVRTC has no standard headers, and none is needed.
//
// Buffers hold 32-bit words. Rows and queries are row-major with `stride` units each, a multiple of 4, zeros after the
// dimension; a unit is a float, or what elements.cuh says. Every launch is one-dimensional. Warps are always whole: blocks have a multiple of 32 threads, and no thread
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
#define METRIC_HAMMING 4u
#define METRIC_JACCARD 5u

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
template <class Sum>
__device__ __forceinline__ Sum warp_sum(Sum value) {
    for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// Whether a search may return a row of the resident or uploaded part; `allow` is null when it may return all.
__device__ __forceinline__ bool is_allowed(const u32* allow, u32 row) {
    return allow == nullptr || ((allow[row >> 5] >> (row & 31u)) & 1u);
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
