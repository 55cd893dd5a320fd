// Graphs in which each node has `degree` places for links, `NO_ROW` in those that are not used: which links are not needed, and
// which of the other direction take their places (Ootomo et al., CAGRA, 2024). Walks are in walk.cu.

// Most links of a node before they are thinned out.
#define MOST_LINKS 2048u

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

// One block for each of the nodes from `first` on: the `kept` of its links with the fewest `detours`, as `count_detours` has counted
// them, the earlier of equal ones first. `best` has places for those of all nodes.
KERNEL __launch_bounds__(256)
    best_links(const u32* links, u32 first, u32 degree, const u32* detours, u32 kept, u32* best) {
    __shared__ u32 ways[MOST_LINKS];
    const u64 node = first + blockIdx.x;
    for (u32 at = threadIdx.x; at < degree; at += blockDim.x) {
        const bool is_link = links[node * degree + at] != NO_ROW;
        ways[at] = is_link ? detours[u64(blockIdx.x) * degree + at] : NO_ROW;
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < degree; at += blockDim.x) {
        u32 place = 0;
        for (u32 other = 0; other < degree; ++other) {
            place += ways[other] < ways[at] || (ways[other] == ways[at] && other < at);
        }
        if (place < kept) best[node * kept + place] = links[node * degree + at];
    }
}

// One thread for each link, those of rank 0 of all nodes first. `reverse` becomes, for each of the nodes `first..first + count`, the
// nodes that link to it, those with the link at the lowest rank first, then by number, as many as there is `room` for: each as the
// complement of rank and number, 0 in places that are not used, as all are before.
//
// A list of places is a chain. A link takes the place of a worse one, which moves on to the next place, and past the last one it is
// lost. Whatever moves on leaves a better link behind in every place that it has passed, and places only get better: so in the end
// they hold the best links in order, whoever came first. For the same reason a link may start behind any place that it has seen with
// a better one; as links come about in the order of their ranks, few places are left to pass from there.
KERNEL __launch_bounds__(256)
    reverse_links(const u32* links, u32 nodes, u32 degree, u32 first, u32 count, u32 room, u64* reverse) {
    const u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= u64(nodes) * degree) return;
    const u64 rank = at / nodes, node = at % nodes;
    // `NO_ROW` is not among the nodes either.
    const u32 to = links[node * degree + rank] - first;
    if (to >= count) return;
    u64* const places = reverse + u64(to) * room;
    u64 mine = ~(rank << 32 | node);
    u32 place = 0, end = room;
    while (place < end) {
        const u32 middle = (place + end) / 2;
        if (*static_cast<volatile u64*>(places + middle) > mine) {
            place = middle + 1;
        } else {
            end = middle;
        }
    }
    for (; place < room && mine != 0; ++place) {
        const u64 held = atomicMax(places + place, mine);
        if (held < mine) mine = held;
    }
}

// One block for each of the nodes from `first` on: the better half of what it may have of its own links, then those of `reverse`,
// then the rest of its own, none of them twice, as many as there is `room` for.
KERNEL __launch_bounds__(256)
    join_links(const u32* links, u32 first, u32 degree, const u64* reverse, u32 room, u32* joined) {
    __shared__ u32 all[2 * MOST_LINKS];
    __shared__ u32 is_new[2 * MOST_LINKS];
    const u64 node = first + blockIdx.x, start = u64(blockIdx.x) * room;
    const u32 half = degree < (room + 1) / 2 ? degree : (room + 1) / 2;
    for (u32 at = threadIdx.x; at < degree + room; at += blockDim.x) {
        if (at < half) {
            all[at] = links[node * degree + at];
        } else if (at < half + room) {
            // The complement of nothing is `NO_ROW`.
            all[at] = ~u32(reverse[start + at - half]);
            joined[start + at - half] = NO_ROW;
        } else {
            all[at] = links[node * degree + at - room];
        }
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < degree + room; at += blockDim.x) {
        bool found = all[at] == NO_ROW || all[at] == node;
        for (u32 before = 0; !found && before < at; ++before) found = all[before] == all[at];
        is_new[at] = !found;
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < degree + room; at += blockDim.x) {
        if (!is_new[at]) continue;
        u32 place = 0;
        for (u32 before = 0; before < at; ++before) place += is_new[before];
        if (place < room) joined[start + place] = all[at];
    }
}
