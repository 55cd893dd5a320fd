// The best `k` of every query's list, in no order: a radix select over the bits of (distance, row), eight at a time from the
// top, which stops as soon as a whole bucket is wanted. Rows are distinct, so there is one right answer.

// One block for each query, of 256 threads or a multiple. Reads `counts[query]` places of `distances` and `rows`, writes the
// best to `best_*` (`best_room` places for each query, at least `k`), their number to `best_counts`, and to `bounds` what a further
// row must not exceed: the worst distance of a full list. A list that lost entries is reported in `overflow`.
KERNEL __launch_bounds__(1024) select_k(const float* distances, const u32* rows, const u32* counts, u32 room, u32 k,
                                        float* best_distances, u32* best_rows, u32* best_counts, u32 best_room,
                                        float* bounds, u32* overflow) {
    __shared__ u32 histogram[256];
    __shared__ u32 digit, below, inside, taken, worst;
    const u32 query = blockIdx.x;
    const u64 start = u64(query) * room;
    u32 count = counts[query];
    if (count > room) {
        if (threadIdx.x == 0) atomicOr(overflow, 1u);
        count = room;
    }
    if (threadIdx.x == 0) {
        taken = 0;
        worst = 0;
    }
    // Those keys are wanted whose bits under `mask` do not exceed `prefix`.
    u64 prefix = ~0ull, mask = 0;
    if (count > k) {
        prefix = 0;
        u32 wanted = k;
        for (int shift = 56; shift >= 0; shift -= 8) {
            for (u32 at = threadIdx.x; at < 256; at += blockDim.x) histogram[at] = 0;
            __syncthreads();
            for (u32 at = threadIdx.x; at < count; at += blockDim.x) {
                u64 key = key_of(distances[start + at], rows[start + at]);
                if ((key & mask) == prefix) atomicAdd(&histogram[u32(key >> shift) & 255u], 1u);
            }
            __syncthreads();
            if (threadIdx.x < 32) {
                // Each lane adds up eight buckets; the lane in whose eight the last wanted key lies finds the bucket.
                u32 mine = 0;
                for (u32 i = 0; i < 8; ++i) mine += histogram[threadIdx.x * 8 + i];
                u32 through = mine;
                for (u32 step = 1; step < 32; step <<= 1) {
                    u32 lower = __shfl_up_sync(ALL_LANES, through, step);
                    if (threadIdx.x >= step) through += lower;
                }
                u32 before = through - mine;
                if (before < wanted && wanted <= through) {
                    u32 bucket = threadIdx.x * 8;
                    while (before + histogram[bucket] < wanted) before += histogram[bucket++];
                    digit = bucket;
                    below = before;
                    inside = histogram[bucket];
                }
            }
            __syncthreads();
            prefix |= u64(digit) << shift;
            mask |= u64(255) << shift;
            wanted -= below;
            bool whole = inside == wanted;
            // Nobody may still read what the next turn writes.
            __syncthreads();
            if (whole) break;
        }
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < count; at += blockDim.x) {
        float distance = distances[start + at];
        u32 row = rows[start + at];
        if ((key_of(distance, row) & mask) <= prefix) {
            u64 place = u64(query) * best_room + atomicAdd(&taken, 1u);
            best_distances[place] = distance;
            best_rows[place] = row;
            atomicMax(&worst, ordered_bits(distance));
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        best_counts[query] = taken;
        bounds[query] = taken >= k ? from_ordered_bits(worst) : __uint_as_float(0x7f800000u);
    }
}
