// Graphs in which each node has `degree` places for links, `NO_ROW` in those that are not used: which links are not needed
// (Ootomo et al., CAGRA, 2024). Walks are in walk.cu.

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
