// Walks through graphs in which each node has `degree` places for links, `NO_ROW` in those that are not used (Ootomo et al.,
// CAGRA, 2024).

// Most nodes that a walk keeps, and most that it scores at a time.
#define MOST_LIST 1024u
#define MOST_FRESH 1024u

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

// Tables of keys, places of which are 0 or a key and one; there is always an empty place. Whether a key was not in the table,
// which has it after that.
__device__ __forceinline__ bool first_visit(u32* table, u32 mask, u32 key) {
    for (u32 at = (key * 2654435761u) & mask;; at = (at + 1) & mask) {
        const u32 old = atomicCAS(&table[at], 0u, key + 1);
        if (old == 0u) return true;
        if (old == key + 1) return false;
    }
}

// Whether a key is in a table that other blocks write to: one that has just come may be missed.
__device__ __forceinline__ bool was_visited(const volatile u32* table, u32 mask, u32 key) {
    for (u32 at = (key * 2654435761u) & mask;; at = (at + 1) & mask) {
        const u32 old = table[at];
        if (old == 0u || old == key + 1) return old != 0u;
    }
}

// Keys of the table that the walks of a query share: nodes that one of them has scored, and those whose links one of them follows.
__device__ __forceinline__ u32 known(u32 node) { return 2 * node; }
__device__ __forceinline__ u32 taken(u32 node) { return 2 * node + 1; }

// The `at`th of `count` nodes to start with: one out of each of as many ranges of nodes, drawn, since rows may come in turns.
__device__ __forceinline__ u32 start_of(u32 at, u32 count, u32 nodes) {
    const u32 first = u32(u64(at) * nodes / count), end = u32(u64(at + 1) * nodes / count);
    const u32 draw = (at + 1) * 2654435761u;
    return end > first + 1 ? first + (draw >> 8) % (end - first) : first;
}

// What four units add to a sum of floats of any width, or of whole numbers.
template <class Rows>
__device__ __forceinline__ void add_units(float& sum, u32 metric, float4 a, float4 b) {
    if (Rows::by_differences(metric)) {
        const float x = a.x - b.x, y = a.y - b.y, z = a.z - b.z, w = a.w - b.w;
        sum += x * x + y * y + z * z + w * w;
    } else {
        sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
    }
}
template <class Rows>
__device__ __forceinline__ void add_units(int& sum, u32 metric, uint4 a, uint4 b) {
    if (Rows::by_differences(metric)) {
        add4<Rows, true>(sum, a, b);
    } else {
        add4<Rows, false>(sum, a, b);
    }
}

// Where the term of a node's row is: floats have one for each row under COSINE only, whole numbers always.
__device__ __forceinline__ u32 term_place(float, u32 metric, u32 node) { return metric == METRIC_COSINE ? node : 0; }
__device__ __forceinline__ u32 term_place(int, u32, u32 node) { return node; }

// What the threads of a block share: nodes that are kept and those that were just scored, nodes to score, and those whose links
// are followed.
struct Walk {
    u64* keys;
    u32 *fresh, *parents, *parent_count, *fresh_count;
};

// `walks` blocks of 128 threads for each query. Each keeps a list of the best `list` nodes so far in order; in each of at most
// `rounds` rounds it looks at the links of the best `width` of them that nobody has looked at. Together they start with nodes
// from all over the graph. `team` lanes compare a row. `marks` has a table of `mark_count` places, a power of two, for each walk, and
// `shared` one of `shared_count` places for each query, all 0 before, when it has several walks.
//
// A walk strikes a node from its list whose links another walk follows. So walks of one query share the nodes near it, and each node
// is handed out by one of them.
//
// Appends the list, or, when only some rows may be found, all of those that were scored. Of several walks also what has left their
// lists after its links were looked at. `scored` grows by the nodes that were compared, each once when only some rows may be found.
//
// A key is the distance, the node and, in its last bit, whether its links were looked at.
template <class Rows>
__device__ __forceinline__ void walk_rows(const float* rows, const float* row_terms, const u32* numbers, const u32* links,
                                          u32 nodes, u32 degree, const u32* allow, const float* queries,
                                          const float* query_terms, u32 stride, u32 metric, u32 list, u32 width,
                                          u32 rounds, u32 team, u32 walks, u32* marks, u32 mark_count, u32* shared,
                                          u32 shared_count, u32* scored, const Lists& lists, const Walk& of_block) {
    u64* const keys = of_block.keys;
    u32 *const fresh = of_block.fresh, *const parents = of_block.parents;
    u32 &parent_count = *of_block.parent_count, &fresh_count = *of_block.fresh_count;
    const u32 query = blockIdx.x / walks, walk = blockIdx.x % walks, lane = threadIdx.x & 31u;
    const bool several = walks > 1;
    const float* const of_query = queries + u64(query) * stride;
    const typename Rows::Part query_terms_of = Rows::of_query(metric, query_terms[query]);
    u32* const my_marks = marks + u64(blockIdx.x) * mark_count;
    u32* const of_all = shared + (several ? u64(query) * shared_count : 0);
    for (u32 at = threadIdx.x; at < mark_count; at += blockDim.x) my_marks[at] = 0;
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
                    node = start_of(place * walks + walk, list * walks, nodes);
                } else {
                    node = links[u64(parents[place / degree]) * degree + place % degree];
                }
                bool is_fresh = node != NO_ROW;
                if (is_fresh && several) is_fresh = !was_visited(of_all, shared_count - 1, taken(node));
                fresh[at] = is_fresh && first_visit(my_marks, mark_count - 1, node) ? node : NO_ROW;
            }
            __syncthreads();
            const u32 teams = blockDim.x / team;
            for (u32 start = 0; start < count; start += teams) {
                const u32 at = start + threadIdx.x / team;
                const u32 node = at < count ? fresh[at] : NO_ROW;
                typename Rows::Sum sum = 0;
                if (node != NO_ROW) {
                    for (u32 axis = (threadIdx.x % team) * 4; axis < stride; axis += team * 4) {
                        add_units<Rows>(sum, metric, Rows::query4(of_query, 0, stride, axis),
                                        Rows::row4(rows, node, stride, axis));
                    }
                }
                for (u32 step = team / 2; step > 0; step >>= 1) sum += __shfl_xor_sync(ALL_LANES, sum, int(step));
                if (at < count && threadIdx.x % team == 0) {
                    u64 key = ~0ull;
                    if (node != NO_ROW) {
                        const float term = row_terms[term_place(sum, metric, node)];
                        const float distance = Rows::distance(sum, query_terms_of, Rows::of_row(metric, term));
                        key = key_of(distance, node << 1);
                        const bool filtered = allow != nullptr;
                        if (!filtered || !several || first_visit(of_all, shared_count - 1, known(node))) {
                            atomicAdd(&fresh_count, 1u);
                            if (filtered && is_allowed(allow, numbers[node])) append(lists, query, distance, numbers[node]);
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
            u32 chosen = 0;
            for (u32 start = 0; start < list && chosen < width; start += 32) {
                const u32 at = start + lane;
                const u64 key = at < list ? keys[at] : ~0ull;
                const u32 node = u32(key) >> 1;
                // One after the other, since of several walks another may be faster.
                for (u32 open = __ballot_sync(ALL_LANES, (key & 1u) == 0); open != 0 && chosen < width; open &= open - 1) {
                    const u32 next = u32(__ffs(int(open))) - 1;
                    u32 mine = 0;
                    if (lane == next) {
                        mine = !several || first_visit(of_all, shared_count - 1, taken(node));
                        keys[at] = mine ? key | 1u : ~0ull;
                        if (mine) parents[chosen] = node;
                        if (mine && several && allow == nullptr) {
                            append(lists, query, from_ordered_bits(u32(key >> 32)), numbers[node]);
                        }
                    }
                    chosen += __shfl_sync(ALL_LANES, mine, int(next));
                }
            }
            if (lane == 0) parent_count = chosen;
        }
        __syncthreads();
        if (parent_count == 0) break;
    }
    if (allow == nullptr) {
        for (u32 at = threadIdx.x; at < list; at += blockDim.x) {
            const u64 key = keys[at];
            const u32 node = u32(key) >> 1;
            bool mine = key != ~0ull;
            if (mine && several) mine = (key & 1u) == 0 && first_visit(of_all, shared_count - 1, taken(node));
            if (mine) append(lists, query, from_ordered_bits(u32(key >> 32)), numbers[node]);
        }
    }
    if (threadIdx.x == 0) atomicAdd(&scored[query], fresh_count);
}

#define WALK_KERNEL(ROWS, SUFFIX)                                                                                     \
    KERNEL __launch_bounds__(128) walk_graph##SUFFIX(                                                                 \
        const float* rows, const float* row_terms, const u32* numbers, const u32* links, u32 nodes, u32 degree,       \
        const u32* allow, const float* queries, const float* query_terms, u32 stride, u32 metric, u32 list,           \
        u32 width, u32 rounds, u32 team, u32 walks, u32* marks, u32 mark_count, u32* shared, u32 shared_count,        \
        u32* scored, float* distances, u32* found, u32* counts, u32 room) {                                           \
        __shared__ u64 keys[MOST_LIST + MOST_FRESH];                                                                  \
        __shared__ u32 fresh[MOST_FRESH];                                                                             \
        __shared__ u32 parents[MOST_LIST];                                                                            \
        __shared__ u32 parent_count, fresh_count;                                                                     \
        walk_rows<ROWS>(rows, row_terms, numbers, links, nodes, degree, allow, queries, query_terms, stride, metric,  \
                        list, width, rounds, team, walks, marks, mark_count, shared, shared_count, scored,            \
                        Lists{distances, found, counts, room},                                                        \
                        Walk{keys, fresh, parents, &parent_count, &fresh_count});                                     \
    }
FOR_EACH_ELEMENT(WALK_KERNEL)
