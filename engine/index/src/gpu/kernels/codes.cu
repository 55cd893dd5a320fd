// Product codes: each group of `width` dimensions of a row is one of up to 256 codewords. Books have for each group the
// codewords dimension by dimension, all of them side by side. Tables and codes are those of a processor, bit for bit: steps
// are rounded one by one, in its order.

// Bytes of tables that a block of a scan has at hand. Groups that they do not hold come in a further pass.
#define TABLE_BYTES 32768u

// Numbers of codes up to 4 bits lie eight in a word, others four; tables have 16 or 256 bytes.
__device__ __forceinline__ u32 codes_per_word(u32 bits) { return bits <= 4 ? 8u : 4u; }
__device__ __forceinline__ u32 table_entries(u32 bits) { return bits <= 4 ? 16u : 256u; }

// 256 threads; blocks: groups x tiles of 32 rows. The nearest codeword of each group of a row, as a byte; `pitch` bytes for a row.
KERNEL __launch_bounds__(256) nearest_words(const float* rows, u32 count, u32 stride, const float* books, const float* norms,
                                            u32 parts, u32 width, u32 bits, u32 pitch, u32* codes) {
    const u32 part = blockIdx.x % parts, words = 1u << bits, lane = threadIdx.x & 31u;
    const u32 first = (blockIdx.x / parts) * 32 + (threadIdx.x >> 5) * 4;
    const float* const book = books + u64(part) * width * words;
    u64 least[4] = {~0ull, ~0ull, ~0ull, ~0ull};
    for (u32 word = lane; word < words; word += 32) {
        float values[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) values[i] = norms[u64(part) * words + word];
        for (u32 axis = 0; axis < width; ++axis) {
            const float column = book[u64(axis) * words + word];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const u32 row = first + i < count ? first + i : count - 1;
                const float twice = rows[u64(row) * stride + part * width + axis] * 2.0f;
                values[i] = __fsub_rn(values[i], __fmul_rn(twice, column));
            }
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            // What is no number is nearest to nothing.
            const u64 key = key_of(values[i] == values[i] ? values[i] : __uint_as_float(0x7f800000u), word);
            least[i] = key < least[i] ? key : least[i];
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        for (int step = 16; step > 0; step >>= 1) {
            const u32 high = __shfl_xor_sync(ALL_LANES, u32(least[i] >> 32), step);
            const u32 low = __shfl_xor_sync(ALL_LANES, u32(least[i]), step);
            const u64 other = (u64(high) << 32) | low;
            least[i] = other < least[i] ? other : least[i];
        }
        if (lane == 0 && first + i < count) {
            reinterpret_cast<unsigned char*>(codes)[u64(first + i) * pitch + part] = (unsigned char)(least[i]);
        }
    }
}

// The product of a group of a query, less the mean of all rows, with a codeword.
__device__ __forceinline__ float product_of(const float* group, const float* mean, const float* book, u32 width, u32 words,
                                            u32 word) {
    float sum = 0.0f;
    for (u32 axis = 0; axis < width; ++axis) {
        sum = __fadd_rn(sum, __fmul_rn(__fsub_rn(group[axis], mean[axis]), book[u64(axis) * words + word]));
    }
    return sum;
}

// One block of 256 threads for each query. Its products with all codewords, rounded to bytes at one scale: the least of a group
// is 0, and `lines` gets the scale and the sum of the least. `tables` has 16 or 256 bytes for each group, and zeros for as
// many further groups as the last word of a code has. `lows` has room for a number of each group.
KERNEL __launch_bounds__(256) code_tables(const float* queries, u32 stride, const float* mean, const float* books, u32 parts,
                                          u32 width, u32 bits, float* lows, u32* tables, float* lines) {
    __shared__ u32 widest;
    const u32 query = blockIdx.x, lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const u32 words = 1u << bits, entries = table_entries(bits), per_word = codes_per_word(bits);
    const u32 padded = (parts + per_word - 1) / per_word * per_word;
    const float* const of_query = queries + u64(query) * stride;
    float* const my_lows = lows + u64(query) * parts;
    unsigned char* const my_tables = reinterpret_cast<unsigned char*>(tables) + u64(query) * padded * entries;
    if (threadIdx.x == 0) widest = 0;
    __syncthreads();
    for (u32 part = warp; part < parts; part += warps) {
        const float* const book = books + u64(part) * width * words;
        float low = __uint_as_float(0x7f800000u), high = __uint_as_float(0xff800000u);
        for (u32 word = lane; word < words; word += 32) {
            const float value = product_of(of_query + part * width, mean + part * width, book, width, words, word);
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        for (int step = 16; step > 0; step >>= 1) {
            const float other_low = __shfl_xor_sync(ALL_LANES, low, step);
            const float other_high = __shfl_xor_sync(ALL_LANES, high, step);
            low = other_low < low ? other_low : low;
            high = other_high > high ? other_high : high;
        }
        if (lane == 0) {
            my_lows[part] = low;
            const float range = __fsub_rn(high, low);
            // Numbers that are not negative have the order of their bits.
            if (range > 0.0f) atomicMax(&widest, __float_as_uint(range));
        }
    }
    __syncthreads();
    const float scale = __fdiv_rn(__uint_as_float(widest), 255.0f);
    const float inverse = scale > 0.0f ? __fdiv_rn(1.0f, scale) : 0.0f;
    for (u32 part = warp; part < padded; part += warps) {
        const float* const book = books + u64(part) * width * words;
        for (u32 word = lane; word < entries; word += 32) {
            u32 rounded = 0;
            if (part < parts && word < words) {
                const float value = product_of(of_query + part * width, mean + part * width, book, width, words, word);
                // Truncation of a number that is half too large; what is no number becomes 0.
                const float half = __fadd_rn(__fmul_rn(__fsub_rn(value, my_lows[part]), inverse), 0.5f);
                rounded = half >= 255.0f ? 255u : half > 0.0f ? u32(half) : 0u;
            }
            my_tables[part * entries + word] = (unsigned char)rounded;
        }
    }
    if (threadIdx.x == 0) {
        double bias = 0.0;
        for (u32 part = 0; part < parts; ++part) bias += double(my_lows[part]);
        lines[2 * query] = scale;
        lines[2 * query + 1] = float(bias);
    }
}

// Adds up the entries that the numbers of a word choose, out of tables one after the other.
template <u32 BITS>
__device__ __forceinline__ u32 entries_of(const unsigned char* tables, u32 numbers) {
    const u32 entries = BITS == 4 ? 16 : 256;
    u32 sum = 0;
#pragma unroll
    for (u32 i = 0; i < 32 / BITS; ++i) sum += tables[i * entries + ((numbers >> (i * BITS)) & ((1u << BITS) - 1u))];
    return sum;
}

// `scan_lists` by codes: of each group of 32 rows the first word of each row's code, then the next of each, and so on. A distance is
// estimated as that of the list's base, what is stored for the row in `adds` under L2, and the sum of its entries of the query's
// tables, as of `code_tables`.
KERNEL __launch_bounds__(256) scan_codes(const u32* codes, const float* adds, const u32* numbers, const u32* starts,
                                         const u32* allow, const float* bases, const float* queries, const float* bounds,
                                         u32 stride, u32 metric, const u32* tables, const float* lines, u32 parts, u32 bits,
                                         const u32* probes, u32 probe_room, u32 first_probe, u32 probe_count, u32 splits,
                                         u32* seen, float* distances, u32* found, u32* counts, u32 room) {
    __shared__ __align__(16) u32 held[TABLE_BYTES / 4];
    __shared__ float parts_of_base[8];
    const u32 pair = blockIdx.x / splits, split = blockIdx.x % splits;
    const u32 query = pair / probe_count;
    const u32 list = probes[u64(query) * probe_room + first_probe + pair % probe_count];
    const u32 lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const bool is_l2 = metric == METRIC_L2;
    const Lists lists = {distances, found, counts, room};

    float part_of_base = 0.0f;
    for (u32 at = threadIdx.x; at < stride; at += blockDim.x) {
        const float a = queries[u64(query) * stride + at], b = bases[u64(list) * stride + at];
        part_of_base += is_l2 ? (a - b) * (a - b) : -(a * b);
    }
    part_of_base = warp_sum(part_of_base);
    if (lane == 0) parts_of_base[warp] = part_of_base;
    __syncthreads();
    float base = 0.0f;
    for (u32 i = 0; i < warps; ++i) base += parts_of_base[i];

    const u32 per_word = codes_per_word(bits), entries = table_entries(bits);
    const u32 words = (parts + per_word - 1) / per_word, words_of_table = per_word * entries / 4;
    const u32 words_of_pass = TABLE_BYTES / 4 / words_of_table;
    const u32* const of_query = tables + u64(query) * words * words_of_table;
    const float times = is_l2 ? -2.0f : -1.0f;
    const float scale = lines[2 * query] * times, bias = lines[2 * query + 1] * times, bound = bounds[query];
    bool loaded = false;
    u32 looked_at = 0;
    const u32 end = starts[list + 1];
    for (u32 step = starts[list] + split * warps; step < end; step += warps * splits) {
        const u32 group = step + warp;
        const u64 place = u64(group) * 32 + lane;
        const u32 number = group < end ? numbers[place] : NO_ROW;
        const bool wanted = number != NO_ROW && is_allowed(allow, number);
        const u32 all = __ballot_sync(ALL_LANES, wanted);
        looked_at += u32(__popc(int(all)));
        u32 sum = 0;
        for (u32 first = 0; first < words; first += words_of_pass) {
            const u32 count = words - first < words_of_pass ? words - first : words_of_pass;
            if (!loaded) {
                // Nobody may still read what is overwritten.
                __syncthreads();
                for (u32 at = threadIdx.x; at < count * words_of_table; at += blockDim.x) {
                    held[at] = of_query[u64(first) * words_of_table + at];
                }
                __syncthreads();
                loaded = words <= words_of_pass;
            }
            if (all == 0) continue;
            const u32* const of_row = codes + (u64(group) * words + first) * 32 + lane;
            const unsigned char* const bytes = reinterpret_cast<const unsigned char*>(held);
            if (bits <= 4) {
#pragma unroll 4
                for (u32 word = 0; word < count; ++word) sum += entries_of<4>(bytes + word * 128, of_row[u64(word) * 32]);
            } else {
#pragma unroll 4
                for (u32 word = 0; word < count; ++word) sum += entries_of<8>(bytes + word * 1024, of_row[u64(word) * 32]);
            }
        }
        if (all == 0) continue;
        float distance = 0.0f;
        if (wanted) {
            distance = __fadd_rn(__fmul_rn(scale, float(sum)), bias);
            if (is_l2) distance = __fadd_rn(distance, adds[place]);
            distance = __fadd_rn(distance, base);
            distance = distance == distance ? distance : __uint_as_float(0xff800000u);
        }
        append_warp(lists, query, wanted && distance <= bound, distance, number);
    }
    if (lane == 0 && looked_at > 0) atomicAdd(&seen[query], looked_at);
}
