// The means of lists of rows, as k-means asks for them. Rows are added up in the order of their list and in 64 bits, so that
// the answer is the same every time, and that of a processor.

// One block for each list. List `i` is `members[offsets[i] .. offsets[i + 1]]`; each row counts `weights[row]` times. The mean
// of an empty list stays what it is.
KERNEL __launch_bounds__(128) list_means(const float* rows, const float* weights, const u32* members, const u32* offsets,
                                         u32 stride, float* means) {
    const u32 from = offsets[blockIdx.x], to = offsets[blockIdx.x + 1];
    if (from == to) return;
    for (u32 at = threadIdx.x; at < stride; at += blockDim.x) {
        double sum = 0.0;
        for (u32 member = from; member < to; ++member) {
            u32 row = members[member];
            float value = rows[u64(row) * stride + at] * weights[row];
            sum += double(value);
        }
        means[u64(blockIdx.x) * stride + at] = float(sum / double(to - from));
    }
}
