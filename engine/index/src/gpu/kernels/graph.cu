// Graphs in which each node has `degree` places for links, `NO_ROW` in those that are not used: which links are not needed, and
// walks (Ootomo et al., CAGRA, 2024).

// Most links of a node before they are thinned out, most nodes that a walk keeps, and most that it scores at a time.
#define MOST_LINKS 2048u
#define MOST_LIST 1024u
#define MOST_FRESH 1024u

// One block for each of the nodes from `first` on. Links lie nearest first. `counts` becomes, for each link, how many ways over one
// other node there are both links of which come earlier in their lists.
KERNEL __launch_bounds__(256) count_detours(const u32* links, u32 first, u32 degree, u32* counts) {
    __shared__ u32 mine[MOST_LINKS];
    __shared__ u32 ways[MOST_LINKS];
    const u64 start = u64(first + blockIdx.x) * degree;
    for (u32 at = threadIdx.x; at < degree; at += blockDim.x) {
        mine[at] = links[start + at];
        ways[at] = 0;
    }
    __syncthreads();
    for (u32 pair = threadIdx.x; pair < degree * degree; pair += blockDim.x) {
        const u32 place = pair / degree, next = pair % degree, over = mine[place];
        if (over == NO_ROW) continue;
        const u32 to = links[u64(over) * degree + next];
        if (to == NO_ROW) continue;
        for (u32 at = (place > next ? place : next) + 1; at < degree; ++at) {
            if (mine[at] == to) {
                atomicAdd(&ways[at], 1u);
                break;
            }
        }
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < degree; at += blockDim.x) counts[u64(blockIdx.x) * degree + at] = ways[at];
}

// Sorts `size` keys, a power of two, ascending (Batcher, 1968). Everybody in the block takes part.
__device__ __forceinline__ void sort_keys(u64* keys, u32 size) {
    for (u32 run = 2; run <= size; run <<= 1) {
        for (u32 step = run >> 1; step > 0; step >>= 1) {
            for (u32 pair = threadIdx.x; pair < size / 2; pair += blockDim.x) {
                const u32 low = ((pair & ~(step - 1)) << 1) | (pair & (step - 1)), high = low + step;
                const u64 a = keys[low], b = keys[high];
                if ((a > b) == ((low & run) == 0)) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            __syncthreads();
        }
    }
}

// Whether a node was not in the table, which has it after that. There is always an empty place.
__device__ __forceinline__ bool first_visit(u32* marks, u32 mask, u32 node) {
    for (u32 at = (node * 2654435761u) & mask;; at = (at + 1) & mask) {
        const u32 old = atomicCAS(&marks[at], NO_ROW, node);
        if (old == NO_ROW) return true;
        if (old == node) return false;
    }
}

// One block of 128 threads for each query. A list of the best `list` nodes so far is kept in order; each of at most `rounds` rounds
// looks at the links of the best `width` of them that it has not looked at. It starts with nodes that are evenly apart.
// `team` lanes compare a row. `marks` has a table of `mark_count` places, a power of two, for each query. Appends the list,
// or, when only some rows may be found, all of those that it scored; counts in `scored` all that it scored.
//
// A key is the distance, the node and, in its last bit, whether its links were looked at.
KERNEL __launch_bounds__(128) walk_graph(const float* rows, const float* row_terms, const u32* numbers, const u32* links,
                                         u32 nodes, u32 degree, const u32* allow, const float* queries,
                                         const float* query_terms, u32 stride, u32 metric, u32 list, u32 width,
                                         u32 rounds, u32 team, u32* marks, u32 mark_count, u32* scored,
                                         float* distances, u32* found, u32* counts, u32 room) {
    __shared__ u64 keys[MOST_LIST + MOST_FRESH];
    __shared__ u32 fresh[MOST_FRESH];
    __shared__ u32 parents[MOST_LIST];
    __shared__ u32 parent_count, fresh_count;
    const u32 query = blockIdx.x, lane = threadIdx.x & 31u;
    const Lists lists = {distances, found, counts, room};
    const float* const of_query = queries + u64(query) * stride;
    const Term query_terms_of = query_part(metric, query_terms[query]);
    u32* const my_marks = marks + u64(query) * mark_count;
    for (u32 at = threadIdx.x; at < mark_count; at += blockDim.x) my_marks[at] = NO_ROW;
    for (u32 at = threadIdx.x; at < list; at += blockDim.x) keys[at] = ~0ull;
    if (threadIdx.x == 0) {
        parent_count = 0;
        fresh_count = 0;
    }
    __syncthreads();
    for (u32 round = 0; round <= rounds; ++round) {
        const u32 wanted = round == 0 ? list : parent_count * degree;
        for (u32 first = 0; first < wanted; first += MOST_FRESH) {
            const u32 count = wanted - first < MOST_FRESH ? wanted - first : MOST_FRESH;
            for (u32 at = threadIdx.x; at < count; at += blockDim.x) {
                const u32 place = first + at;
                u32 node;
                if (round == 0) {
                    node = u32(u64(place) * nodes / list);
                } else {
                    node = links[u64(parents[place / degree]) * degree + place % degree];
                }
                const bool is_fresh = node != NO_ROW && first_visit(my_marks, mark_count - 1, node);
                fresh[at] = is_fresh ? node : NO_ROW;
                if (is_fresh) atomicAdd(&fresh_count, 1u);
            }
            __syncthreads();
            const u32 teams = blockDim.x / team;
            for (u32 start = 0; start < count; start += teams) {
                const u32 at = start + threadIdx.x / team;
                const u32 node = at < count ? fresh[at] : NO_ROW;
                float sum = 0.0f;
                if (node != NO_ROW) {
                    const float* const of_row = rows + u64(node) * stride;
                    for (u32 axis = (threadIdx.x % team) * 4; axis < stride; axis += team * 4) {
                        const float4 a = *reinterpret_cast<const float4*>(of_query + axis);
                        const float4 b = *reinterpret_cast<const float4*>(of_row + axis);
                        if (metric == METRIC_L2_DIRECT) {
                            const float x = a.x - b.x, y = a.y - b.y, z = a.z - b.z, w = a.w - b.w;
                            sum += x * x + y * y + z * z + w * w;
                        } else {
                            sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
                        }
                    }
                }
                for (u32 step = team / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(ALL_LANES, sum, int(step));
                if (at < count && threadIdx.x % team == 0) {
                    u64 key = ~0ull;
                    if (node != NO_ROW) {
                        const float term = row_terms[metric == METRIC_COSINE ? node : 0];
                        const float distance = distance_of(sum, query_terms_of, row_part(metric, term));
                        key = key_of(distance, node << 1);
                        if (allow != nullptr && is_allowed(allow, numbers[node])) {
                            append(lists, query, distance, numbers[node]);
                        }
                    }
                    keys[list + at] = key;
                }
            }
            u32 size = 2;
            while (size < list + count) size <<= 1;
            for (u32 at = list + count + threadIdx.x; at < size; at += blockDim.x) keys[at] = ~0ull;
            __syncthreads();
            sort_keys(keys, size);
        }
        if (threadIdx.x < 32) {
            u32 taken = 0;
            for (u32 start = 0; start < list && taken < width; start += 32) {
                const u32 at = start + lane;
                const u64 key = at < list ? keys[at] : ~0ull;
                const bool open = (key & 1u) == 0;
                const u32 all = __ballot_sync(ALL_LANES, open);
                const u32 place = taken + u32(__popc(int(all & ((1u << lane) - 1u))));
                if (open && place < width) {
                    parents[place] = u32(key) >> 1;
                    keys[at] = key | 1u;
                }
                taken += u32(__popc(int(all)));
            }
            if (lane == 0) parent_count = taken < width ? taken : width;
        }
        __syncthreads();
        if (parent_count == 0) break;
    }
    if (allow == nullptr) {
        for (u32 at = threadIdx.x; at < list; at += blockDim.x) {
            const u64 key = keys[at];
            if (key != ~0ull) append(lists, query, from_ordered_bits(u32(key >> 32)), numbers[u32(key) >> 1]);
        }
    }
    if (threadIdx.x == 0) scored[query] = fresh_count;
}
