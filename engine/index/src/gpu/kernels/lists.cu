// Scans inverted lists. The rows of a list lie in groups of 32, interleaved: first four numbers of each of the 32 rows, then the
// next four of each, and so on. So a lane follows one row, a warp reads 512 bytes at a time, and no lane waits for another.
//
//   list 0                     list 1
//   | group 0 | group 1 ...    | group 7 ...         starts = 0, 7, ..
//   | r0[0..4] r1[0..4] .. r31[0..4] | r0[4..8] r1[4..8] ..

// 256 threads; blocks: queries x probes x `splits` parts of a list. Looks at the lists `probes[first_probe ..]` of each query,
// `probe_count` of them, out of `probe_room` places. Appends the rows that are allowed and not beyond the query's bound, and
// counts in `seen` all that are allowed.
KERNEL __launch_bounds__(256) scan_lists(const float* rows, const float* row_terms, const u32* numbers, const u32* starts,
                                         const u32* allow, const float* queries, const float* query_terms,
                                         const float* bounds, u32 stride, u32 metric, const u32* probes, u32 probe_room,
                                         u32 first_probe, u32 probe_count, u32 splits, u32* seen, float* distances,
                                         u32* found, u32* counts, u32 room) {
    const u32 pair = blockIdx.x / splits, split = blockIdx.x % splits;
    const u32 query = pair / probe_count;
    const u32 list = probes[u64(query) * probe_room + first_probe + pair % probe_count];
    const u32 lane = threadIdx.x & 31u, warps = blockDim.x >> 5, end = starts[list + 1];
    const u32 chunks = stride / 4;
    const float4* const of_query = reinterpret_cast<const float4*>(queries + u64(query) * stride);
    const Term query_terms_of = query_part(metric, query_terms[query]);
    const float bound = bounds[query];
    const Lists lists = {distances, found, counts, room};
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
            const float4* const of_row = reinterpret_cast<const float4*>(rows) + u64(group) * chunks * 32 + lane;
            float sum = 0.0f;
#pragma unroll 4
            for (u32 chunk = 0; chunk < chunks; ++chunk) {
                const float4 row = of_row[u64(chunk) * 32], wanted_row = of_query[chunk];
                if (metric == METRIC_L2_DIRECT) {
                    const float x = wanted_row.x - row.x, y = wanted_row.y - row.y;
                    const float z = wanted_row.z - row.z, w = wanted_row.w - row.w;
                    sum += x * x + y * y + z * z + w * w;
                } else {
                    sum += wanted_row.x * row.x + wanted_row.y * row.y + wanted_row.z * row.z + wanted_row.w * row.w;
                }
            }
            distance = distance_of(sum, query_terms_of, row_part(metric, row_terms[metric == METRIC_COSINE ? place : 0]));
        }
        append_warp(lists, query, wanted && distance <= bound, distance, number);
    }
    if (lane == 0 && looked_at > 0) atomicAdd(&seen[query], looked_at);
}
