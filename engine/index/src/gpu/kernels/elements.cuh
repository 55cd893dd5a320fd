// What vectors are made of. A unit is what a product takes at a time, always 32 bits once it is read: a float, four 8-bit
// integers or 32 bits. So a kernel of rows is one template over the structures below, and moves units about whatever they
// hold.
//
// | rows | in memory | a unit | queries are uploaded as |
// |---|---|---|---|
// | FloatRows | 32-bit floats | a float | floats |
// | HalfRows, BFloat16Rows | two to a word, the first in its lower half | a float, widened when it is read | floats |
// | Int8Rows | four to a word | the word | the same words |
// | BitRows | 32 to a word | the word | the same words |
//
// Sums of integers and bits are whole numbers, and what is made of them is rounded as a processor does it: their distances
// are exact. Those of floats are proposals.

// What turns a sum over the dimensions into a distance of floats, smaller is better: `plus + sum * times`, the parts of
// which come from the query and from the row. One form for every metric keeps the kernels short.
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

// Squared lengths below this have lost digits.
#define LEAST_SQUARE 1e-30f

// Floats of any width.
struct Floats {
    typedef float Unit;
    typedef float4 Four;
    typedef float Sum;
    typedef Term Part;
    // Steps of a tile's loop that are written out, as far as registers allow.
    static constexpr u32 UNROLLED = 8;

    __device__ static __forceinline__ Four nothing() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

    // Four units of a query.
    __device__ static __forceinline__ Four query4(const float* queries, u64 query, u32 stride, u32 at) {
        return *reinterpret_cast<const float4*>(queries + query * stride + at);
    }

    // Whether differences are added up instead of products.
    __device__ static __forceinline__ bool by_differences(u32 metric) { return metric == METRIC_L2_DIRECT; }

    template <bool DIFFERENCES>
    __device__ static __forceinline__ void add(Sum& sum, Unit query, Unit row) {
        const float difference = query - row;
        sum += DIFFERENCES ? difference * difference : query * row;
    }

    __device__ static __forceinline__ bool is_zero(Four four) {
        return four.x == 0.0f && four.y == 0.0f && four.z == 0.0f && four.w == 0.0f;
    }

    // What a comparison needs of a row besides products, from its squared length: that, or the inverse of its length. A length
    // that is too small to tell becomes no number, so that the row is always looked at again; a row of zeros has inverse 0.
    __device__ static __forceinline__ float row_term(u32 metric, Sum square, bool zero) {
        if (metric != METRIC_COSINE) return square;
        return zero ? 0.0f : square >= LEAST_SQUARE ? 1.0f / sqrtf(square) : __uint_as_float(0x7fc00000u);
    }

    __device__ static __forceinline__ Part of_query(u32 metric, float term) { return query_part(metric, term); }
    __device__ static __forceinline__ Part of_row(u32 metric, float term) { return row_part(metric, term); }
    __device__ static __forceinline__ float distance(Sum sum, Part query, Part row) { return distance_of(sum, query, row); }

    // Whether a row is wanted whose distance is, as far as the sums can tell, `distance`.
    __device__ static __forceinline__ bool passes(float distance, float bound) { return distance <= bound; }
};

struct FloatRows : Floats {
    // Four units of a row.
    __device__ static __forceinline__ Four row4(const float* rows, u64 row, u32 stride, u32 at) {
        return *reinterpret_cast<const float4*>(rows + row * stride + at);
    }
};

__device__ __forceinline__ float widened_half(u32 bits) {
#ifdef __CUDA_ARCH__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"((unsigned short)(bits)));
    return wide;
#else
    // The exponents' biases are 112 apart, which a product makes good for normal and subnormal halves alike.
    const float magnitude = __uint_as_float((bits & 0x7fffu) << 13) * __uint_as_float((127u + 112u) << 23);
    return __uint_as_float(__float_as_uint(magnitude) | (bits & 0x8000u) << 16);
#endif
}

struct HalfRows : Floats {
    // The four numbers of two words.
    __device__ static __forceinline__ Four four_of(u32 low, u32 high) {
        return make_float4(widened_half(low & 0xffffu), widened_half(low >> 16), widened_half(high & 0xffffu),
                           widened_half(high >> 16));
    }

    __device__ static __forceinline__ Four row4(const float* rows, u64 row, u32 stride, u32 at) {
        const uint2 pairs = *reinterpret_cast<const uint2*>(rows + (row * stride + at) / 2);
        return four_of(pairs.x, pairs.y);
    }
};

struct BFloat16Rows : Floats {
    __device__ static __forceinline__ Four four_of(u32 low, u32 high) {
        return make_float4(__uint_as_float(low << 16), __uint_as_float(low & 0xffff0000u), __uint_as_float(high << 16),
                           __uint_as_float(high & 0xffff0000u));
    }

    __device__ static __forceinline__ Four row4(const float* rows, u64 row, u32 stride, u32 at) {
        const uint2 pairs = *reinterpret_cast<const uint2*>(rows + (row * stride + at) / 2);
        return four_of(pairs.x, pairs.y);
    }
};

// What a distance needs of a vector of integers or bits: a squared length, how many bits are set, or the bits of an inverse
// length.
struct Whole {
    u32 term, metric;
};

// Units of several small numbers, whose sums are whole numbers.
struct Words {
    typedef u32 Unit;
    typedef uint4 Four;
    typedef int Sum;
    typedef Whole Part;

    __device__ static __forceinline__ Four nothing() { return make_uint4(0u, 0u, 0u, 0u); }

    __device__ static __forceinline__ Four query4(const float* queries, u64 query, u32 stride, u32 at) {
        return *reinterpret_cast<const uint4*>(queries + query * stride + at);
    }

    __device__ static __forceinline__ Four row4(const float* rows, u64 row, u32 stride, u32 at) {
        return *reinterpret_cast<const uint4*>(rows + row * stride + at);
    }

    __device__ static __forceinline__ bool is_zero(Four four) { return (four.x | four.y | four.z | four.w) == 0u; }

    __device__ static __forceinline__ float row_term(u32 metric, Sum square, bool) {
        if (metric != METRIC_COSINE) return __uint_as_float(u32(square));
        return square == 0 ? 0.0f : __fdiv_rn(1.0f, __fsqrt_rn(float(square)));
    }

    __device__ static __forceinline__ Part of_query(u32 metric, float term) { return {__float_as_uint(term), metric}; }
    __device__ static __forceinline__ Part of_row(u32 metric, float term) { return {__float_as_uint(term), metric}; }

    // Rows of a later range have larger numbers, and lose to those of the same distance.
    __device__ static __forceinline__ bool passes(float distance, float bound) { return distance < bound; }
};

struct Int8Rows : Words {
    static constexpr u32 UNROLLED = 8;

    __device__ static __forceinline__ bool by_differences(u32) { return false; }

    template <bool DIFFERENCES>
    __device__ static __forceinline__ void add(Sum& sum, Unit query, Unit row) {
        sum = __dp4a(int(query), int(row), sum);
    }

    __device__ static __forceinline__ float distance(Sum sum, Part query, Part row) {
        // At most 2^31 - 1 for 32,768 dimensions.
        if (query.metric == METRIC_L2) return float(int(query.term + row.term - 2u * u32(sum)));
        if (query.metric != METRIC_COSINE) return 0.0f - float(sum);
        const float of_query = __fmul_rn(float(sum), __uint_as_float(query.term));
        const float cosine = __fmul_rn(of_query, __uint_as_float(row.term));
        return 0.0f - (cosine > 1.0f ? 1.0f : cosine < -1.0f ? -1.0f : cosine);
    }
};

struct BitRows : Words {
    static constexpr u32 UNROLLED = 2;

    // Bits that differ, or bits that are set in both.
    __device__ static __forceinline__ bool by_differences(u32 metric) { return metric == METRIC_HAMMING; }

    template <bool DIFFERENCES>
    __device__ static __forceinline__ void add(Sum& sum, Unit query, Unit row) {
        sum += __popc(int(DIFFERENCES ? query ^ row : query & row));
    }

    __device__ static __forceinline__ float distance(Sum sum, Part query, Part row) {
        if (query.metric == METRIC_HAMMING) return float(sum);
        const int either = int(query.term + row.term) - sum;
        return either == 0 ? 1.0f : __fdiv_rn(float(either - sum), float(either));
    }
};

__device__ __forceinline__ u32 bits_of(float sum) { return __float_as_uint(sum); }
__device__ __forceinline__ u32 bits_of(int sum) { return u32(sum); }

// `add` of four units.
template <class Rows, bool DIFFERENCES>
__device__ __forceinline__ void add4(typename Rows::Sum& sum, typename Rows::Four query, typename Rows::Four row) {
    Rows::template add<DIFFERENCES>(sum, query.x, row.x);
    Rows::template add<DIFFERENCES>(sum, query.y, row.y);
    Rows::template add<DIFFERENCES>(sum, query.z, row.z);
    Rows::template add<DIFFERENCES>(sum, query.w, row.w);
}

// `FOR_EACH_ELEMENT(KERNELS)` comes before this file: `KERNELS(rows, suffix)` for every kind of rows that kernels are wanted
// for, whose names end in the suffix.
