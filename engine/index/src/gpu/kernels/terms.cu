// What a distance needs of every row besides the products: its squared length, or under COSINE the inverse of its length.
// A length that is too small to tell becomes no number, so that the row is always looked at again; a row of zeros has
// inverse 0.

// Squared lengths below this have lost digits.
#define LEAST_SQUARE 1e-30f

// One warp for each row. `largest` becomes the largest squared length, as bits, which for numbers that are not negative have
// the order of the numbers; what is no number is larger than all.
KERNEL row_terms(const float* rows, u32 count, u32 stride, u32 metric, float* terms, u32* largest) {
    u32 lane = threadIdx.x & 31u;
    u32 warps = gridDim.x * (blockDim.x >> 5);
    u32 most = 0;
    for (u32 row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); row < count; row += warps) {
        const float4* values = reinterpret_cast<const float4*>(rows + u64(row) * stride);
        float square = 0.0f, nonzero = 0.0f;
        for (u32 at = lane; at < stride / 4; at += 32) {
            float4 value = values[at];
            square += value.x * value.x + value.y * value.y + value.z * value.z + value.w * value.w;
            if (value.x != 0.0f || value.y != 0.0f || value.z != 0.0f || value.w != 0.0f) nonzero = 1.0f;
        }
        square = warp_sum(square);
        nonzero = warp_sum(nonzero);
        u32 bits = __float_as_uint(square) & 0x7fffffffu;
        most = bits > most ? bits : most;
        if (lane == 0) {
            float inverse = nonzero == 0.0f      ? 0.0f
                            : square >= LEAST_SQUARE ? 1.0f / sqrtf(square)
                                                     : __uint_as_float(0x7fc00000u);
            terms[row] = metric == METRIC_COSINE ? inverse : square;
        }
    }
    if (lane == 0 && most > 0) atomicMax(largest, most);
}
