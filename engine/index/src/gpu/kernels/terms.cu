// What a distance needs of every row besides the products, see `row_term`.

// One warp for each row. `largest` becomes the largest squared length, as bits, which for numbers that are not negative have
// the order of the numbers; what is no number is larger than all.
template <class Rows>
__device__ __forceinline__ void terms_of(const float* rows, u32 count, u32 stride, u32 metric, float* terms, u32* largest) {
    u32 lane = threadIdx.x & 31u;
    u32 warps = gridDim.x * (blockDim.x >> 5);
    u32 most = 0;
    for (u32 row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); row < count; row += warps) {
        typename Rows::Sum square = 0;
        float nonzero = 0.0f;
        for (u32 at = lane * 4; at < stride; at += 128) {
            typename Rows::Four value = Rows::row4(rows, row, stride, at);
            add4<Rows, false>(square, value, value);
            if (!Rows::is_zero(value)) nonzero = 1.0f;
        }
        square = warp_sum(square);
        nonzero = warp_sum(nonzero);
        u32 bits = bits_of(square) & 0x7fffffffu;
        most = bits > most ? bits : most;
        if (lane == 0) terms[row] = Rows::row_term(metric, square, nonzero == 0.0f);
    }
    if (lane == 0 && most > 0) atomicMax(largest, most);
}

#define TERMS_KERNEL(ROWS, SUFFIX)                                                                                   \
    KERNEL row_terms##SUFFIX(const float* rows, u32 count, u32 stride, u32 metric, float* terms, u32* largest) {      \
        terms_of<ROWS>(rows, count, stride, metric, terms, largest);                                                 \
    }
FOR_EACH_ELEMENT(TERMS_KERNEL)
