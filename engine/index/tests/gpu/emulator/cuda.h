// Just enough of CUDA to run the kernels of this folder on a processor, for tests: the same source, compiled as C++.
//
// A block's threads are fibres of one thread of the system, which run in an order drawn from a seed until they wait for each
// other. So barriers and exchanges between the lanes of a warp mean what they mean on a device, what depends on the order
// of threads shows as a difference between seeds, and threads that wait for different things end the program with a word
// about it. Shared memory is filled with rubbish before each block.
//
// With a seed a thread may also stop before an operation on memory that others share, so that what it has read before is not what is
// there any more.
//
// Blocks take turns too: with a seed, up to three are under way at a time, and another one goes on whenever all threads of one have
// stopped, as if they were on different multiprocessors.
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
// The linker gathers all of it in one place, which `run_grid` fills with rubbish.
#define __shared__ static __attribute__((section("cuda_shared")))

struct float4 {
    float x, y, z, w;
} __attribute__((aligned(16)));
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct uint2 {
    unsigned x, y;
} __attribute__((aligned(8)));
struct uint4 {
    unsigned x, y, z, w;
} __attribute__((aligned(16)));
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
struct Dimensions {
    unsigned x, y, z;
};

namespace emulator {

enum State { READY, AT_BARRIER, AT_EXCHANGE, DONE };

struct Fibre {
    ucontext_t start;
    jmp_buf here;
    bool started;
    State state;
    unsigned exchanges;
    char* stack;
};

constexpr unsigned MAX_THREADS = 1024, STACK = 64 * 1024;

// A block that is under way.
struct Block {
    Fibre fibres[MAX_THREADS];
    // What the lanes of a warp hand each other; two sets, because a lane may be one exchange ahead of another.
    std::uint32_t exchanged[2][MAX_THREADS];
    unsigned index;
    std::uint64_t round;
    // Its shared memory while another block runs.
    unsigned char* shared;
};

constexpr unsigned TOGETHER = 3;

inline Block blocks[TOGETHER];
inline Block* here = blocks;
inline jmp_buf scheduler;
inline ucontext_t scheduler_context;
inline unsigned running, block_threads;
// Of the draws whether a thread stops before an atomic operation; 0 in the plain order, in which none does.
inline std::uint64_t stops;
inline void (*body)(void**);
inline void** arguments;

inline void wait_as(State state) {
    here->fibres[running].state = state;
    if (_setjmp(here->fibres[running].here) == 0) _longjmp(scheduler, 1);
}

inline void enter() {
    body(arguments);
    here->fibres[running].state = DONE;
    _longjmp(scheduler, 1);
}

inline void resume(unsigned thread) {
    running = thread;
    Fibre& fibre = here->fibres[thread];
    if (_setjmp(scheduler) != 0) return;
    if (fibre.started) _longjmp(fibre.here, 1);
    fibre.started = true;
    setcontext(&fibre.start);
}

[[noreturn]] inline void fail(const char* what, unsigned block) {
    std::fprintf(stderr, "emulated kernel: %s in block %u\n", what, block);
    std::abort();
}

// Lets the lanes of a warp go on once all 32 of them wait to exchange.
inline bool release_warp(unsigned first) {
    unsigned waiting = 0;
    for (unsigned lane = 0; lane < 32; ++lane) waiting += here->fibres[first + lane].state == AT_EXCHANGE;
    if (waiting < 32) return false;
    for (unsigned lane = 0; lane < 32; ++lane) here->fibres[first + lane].state = READY;
    return true;
}

inline std::uint64_t mixed(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

// Another thread may come first.
inline void stop_at_times() {
    if (stops != 0 && mixed(stops += 0x9e3779b97f4a7c15ull) % 4 == 0) wait_as(READY);
}

}  // namespace emulator

inline Dimensions blockIdx, blockDim, gridDim;
struct ThreadIndex {
    struct {
        operator unsigned() const { return emulator::running; }
    } x;
};
inline ThreadIndex threadIdx;

extern "C" unsigned char __start_cuda_shared[], __stop_cuda_shared[];

namespace emulator {

inline std::size_t shared_bytes() { return __stop_cuda_shared - __start_cuda_shared; }

inline void start_block(Block& block, unsigned index) {
    here = &block;
    block.index = index;
    block.round = 0;
    if (block.shared == nullptr) block.shared = static_cast<unsigned char*>(std::malloc(shared_bytes()));
    std::memset(block.shared, 0xcd, shared_bytes());
    for (unsigned thread = 0; thread < block_threads; ++thread) {
        Fibre& fibre = block.fibres[thread];
        if (fibre.stack == nullptr) fibre.stack = static_cast<char*>(std::malloc(STACK));
        fibre.started = false;
        fibre.state = READY;
        fibre.exchanges = 0;
        getcontext(&fibre.start);
        fibre.start.uc_stack.ss_sp = fibre.stack;
        fibre.start.uc_stack.ss_size = STACK;
        fibre.start.uc_link = nullptr;
        makecontext(&fibre.start, enter, 0);
    }
}

// Every thread that can goes on until it waits; false when the block is done.
inline bool step_block(std::uint64_t seed) {
    // A step that shares no factor with the number of threads visits each of them once.
    std::uint64_t draw = mixed(seed + here->round++ * 0x9e3779b97f4a7c15ull + here->index);
    unsigned step = seed == 0 ? 1 : (unsigned(draw) % block_threads) | 1u;
    while (block_threads % 3 == 0 && step % 3 == 0) step += 2;
    unsigned thread = seed == 0 ? 0 : unsigned(draw >> 32) % block_threads;
    bool progress = false;
    unsigned live = 0, at_barrier = 0;
    for (unsigned visited = 0; visited < block_threads; ++visited, thread = (thread + step) % block_threads) {
        if (here->fibres[thread].state == READY) {
            resume(thread);
            progress = true;
        }
    }
    for (unsigned warp = 0; warp < block_threads; warp += 32) progress = release_warp(warp) || progress;
    for (unsigned each = 0; each < block_threads; ++each) {
        live += here->fibres[each].state != DONE;
        at_barrier += here->fibres[each].state == AT_BARRIER;
    }
    if (live == 0) return false;
    if (at_barrier == live) {
        for (unsigned each = 0; each < block_threads; ++each) {
            if (here->fibres[each].state == AT_BARRIER) here->fibres[each].state = READY;
        }
    } else if (!progress) {
        fail("threads wait for different things", here->index);
    }
    return true;
}

// Runs a kernel; `seed` decides on the order of blocks and threads, 0 is the plain one.
inline void run_grid(void (*kernel)(void**), void** values, unsigned grid, unsigned block, std::uint64_t seed) {
    if (block == 0 || block > MAX_THREADS || block % 32 != 0) fail("block is not made of whole warps", 0);
    body = kernel;
    arguments = values;
    stops = seed;
    block_threads = block;
    blockDim = {block, 1, 1};
    gridDim = {grid, 1, 1};
    unsigned offset = seed == 0 ? 0 : unsigned(mixed(seed) % grid);
    unsigned together = seed == 0 ? 1 : TOGETHER, started = 0, left = 0;
    for (; started < grid && left < together; ++started, ++left) start_block(blocks[left], (started + offset) % grid);
    Block* under_way[TOGETHER] = {&blocks[0], &blocks[1], &blocks[2]};
    for (std::uint64_t turn = 0; left > 0; ++turn) {
        std::uint64_t draw = mixed(seed ^ (turn * 0x9e3779b97f4a7c15ull));
        unsigned chosen = unsigned(draw % left);
        here = under_way[chosen];
        blockIdx = {here->index, 0, 0};
        std::memcpy(__start_cuda_shared, here->shared, shared_bytes());
        // The plain order lets a block finish.
        unsigned long steps = left == 1 ? ~0ul : 1 + (draw >> 32) % 64;
        bool lives = true;
        while (lives && steps-- > 0) lives = step_block(seed);
        if (lives) {
            std::memcpy(here->shared, __start_cuda_shared, shared_bytes());
        } else if (started < grid) {
            start_block(*here, (started++ + offset) % grid);
        } else {
            under_way[chosen] = under_way[--left];
        }
    }
}

template <class... Types, std::size_t... Places>
void call(void (*kernel)(Types...), void** values, std::index_sequence<Places...>) {
    kernel(*static_cast<Types*>(values[Places])...);
}

// How many arguments a kernel has, and how large each is.
template <class... Types>
constexpr unsigned count_of(void (*)(Types...)) {
    return sizeof...(Types);
}
template <class... Types>
const unsigned* sizes_of(void (*)(Types...)) {
    static const unsigned sizes[] = {sizeof(Types)...};
    return sizes;
}

template <class... Types>
void call(void (*kernel)(Types...), void** values) {
    call(kernel, values, std::index_sequence_for<Types...>{});
}

template <class Word>
Word exchange(Word value, unsigned (*source)(unsigned, unsigned), unsigned number) {
    static_assert(sizeof(Word) == 4, "lanes exchange words");
    unsigned turn = here->fibres[running].exchanges++ & 1u, me = running;
    std::memcpy(&here->exchanged[turn][me], &value, 4);
    wait_as(AT_EXCHANGE);
    unsigned lane = source(me & 31u, number);
    Word other;
    std::memcpy(&other, &here->exchanged[turn][(me & ~31u) + (lane < 32 ? lane : me & 31u)], 4);
    return other;
}

}  // namespace emulator

inline void __syncthreads() { emulator::wait_as(emulator::AT_BARRIER); }

template <class Word>
Word __shfl_xor_sync(unsigned, Word value, unsigned bits) {
    return emulator::exchange(value, [](unsigned lane, unsigned number) { return lane ^ number; }, bits);
}
template <class Word>
Word __shfl_up_sync(unsigned, Word value, unsigned by) {
    return emulator::exchange(value, [](unsigned lane, unsigned number) { return lane - number; }, by);
}

template <class Word>
Word __shfl_sync(unsigned, Word value, unsigned from) {
    return emulator::exchange(value, [](unsigned, unsigned number) { return number; }, from);
}
inline unsigned __ballot_sync(unsigned, bool holds) {
    unsigned turn = emulator::here->fibres[emulator::running].exchanges & 1u, first = emulator::running & ~31u;
    emulator::exchange(unsigned(holds), [](unsigned lane, unsigned) { return lane; }, 0);
    unsigned lanes = 0;
    for (unsigned lane = 0; lane < 32; ++lane) lanes |= (emulator::here->exchanged[turn][first + lane] & 1u) << lane;
    return lanes;
}

template <class Word>
Word atomicAdd(Word* at, Word value) {
    emulator::stop_at_times();
    Word old = *at;
    *at += value;
    return old;
}
template <class Word>
Word atomicMax(Word* at, Word value) {
    emulator::stop_at_times();
    Word old = *at;
    if (value > old) *at = value;
    return old;
}
template <class Word>
Word atomicMin(Word* at, Word value) {
    emulator::stop_at_times();
    Word old = *at;
    if (value < old) *at = value;
    return old;
}
template <class Word>
Word atomicCAS(Word* at, Word expected, Word value) {
    emulator::stop_at_times();
    Word old = *at;
    if (old == expected) *at = value;
    return old;
}
template <class Word>
Word atomicOr(Word* at, Word value) {
    emulator::stop_at_times();
    Word old = *at;
    *at |= value;
    return old;
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
// One rounding each; the compiler is told to fuse nothing.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
// The products of the bytes of two words, which have signs, are added up.
inline int __dp4a(int a, int b, int sum) {
    for (int at = 0; at < 32; at += 8) sum += int(std::int8_t(a >> at)) * int(std::int8_t(b >> at));
    return sum;
}
inline int __popc(int value) { return __builtin_popcount(unsigned(value)); }
