// The functions of CUDA's driver that Elanus calls, over the emulated kernels: a device for tests on machines that have none.
//
// There are two devices, each with a context and memory of its own; a thread works on the one whose context is current.
//
// What a stream is asked for may be done long after, as on a device: without a seed at once, with one when a draw says so, or when
// somebody waits. Only an event that a stream was told to wait for, or its own order, puts one thing before another. So where a wait
// is missing, a kernel reads what has not been copied yet, or a copy from page-locked memory what has been changed since.
//
// Memory that a kernel must not touch is not there: every allocation ends at a page that nobody may read, is there from the moment
// that its stream gets to it, and is unmapped when it is freed. Fresh memory is filled with rubbish.
#include <sys/mman.h>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace {

enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_READY = 600 };

constexpr std::size_t PAGE = 4096;
// Alignment of an allocation: a float4.
constexpr std::size_t ALIGN = 16;

constexpr int DEVICES = 2;

struct Allocation {
    void* mapping;
    std::size_t mapped, bytes;
    int device;
    // Whether its stream has got to it.
    bool there;
};

struct Stream {
    std::deque<std::function<void()>> work;
    std::uint64_t asked = 0, done = 0;
    bool running = false;
};

// The moment when a stream has done so much; no stream before it is recorded.
struct Event {
    Stream* stream = nullptr;
    std::uint64_t at = 0;
};

std::recursive_mutex lock;
std::map<std::uintptr_t, Allocation> allocations;
// Page-locked memory.
std::map<std::uintptr_t, std::size_t> locked;
std::set<Stream*> streams;
// Of each device.
std::size_t total_bytes = std::size_t(1) << 30;
std::size_t used_bytes[DEVICES];
std::uint64_t seed = 0, draws = 0;
bool ignores_waits = false;
std::atomic<unsigned> launches{0}, launches_of[DEVICES], beside{0};
// Handles that are never looked into.
char contexts[DEVICES], module;
thread_local int current = 0;
double milliseconds = 0;

using Guard = std::lock_guard<std::recursive_mutex>;

[[noreturn]] void fault(const char* what) {
    std::fprintf(stderr, "emulated device: %s\n", what);
    std::abort();
}

bool lies_inside(std::uintptr_t at, std::size_t bytes, bool must_be_there) {
    auto next = allocations.upper_bound(at);
    if (next == allocations.begin()) return false;
    --next;
    if (must_be_there && !next->second.there) fault("memory is used before its stream has got it");
    return at + bytes <= next->first + next->second.bytes && next->second.device == current;
}

bool is_locked(const void* at, std::size_t bytes) {
    auto next = locked.upper_bound(reinterpret_cast<std::uintptr_t>(at));
    if (next == locked.begin()) return false;
    --next;
    return reinterpret_cast<std::uintptr_t>(at) + bytes <= next->first + next->second;
}

void run_until(Stream* stream, std::uint64_t at) {
    if (stream == nullptr || streams.count(stream) == 0) return;
    while (stream->done < at && (stream->running || !stream->work.empty())) {
        if (stream->running) fault("streams wait for each other");
        stream->running = true;
        auto work = std::move(stream->work.front());
        stream->work.pop_front();
        work();
        stream->running = false;
        ++stream->done;
    }
}

void run_all() {
    for (Stream* stream : streams) run_until(stream, stream->asked);
}

// Asks a stream for something, which is done on the device that is current now.
int ask(void* handle, std::function<void()> work) {
    Stream* const stream = static_cast<Stream*>(handle);
    if (streams.count(stream) == 0) return INVALID_VALUE;
    const int device = current;
    stream->work.push_back([device, work = std::move(work)] {
        const int before = current;
        current = device;
        work();
        current = before;
    });
    ++stream->asked;
    if (seed == 0) {
        run_until(stream, stream->asked);
    } else if (emulator::mixed(seed + ++draws * 0x9e3779b97f4a7c15ull) % 3 == 0) {
        // Another one may be faster.
        auto other = streams.begin();
        std::advance(other, emulator::mixed(seed ^ draws) % streams.size());
        run_until(*other, (*other)->asked);
    }
    return SUCCESS;
}

}  // namespace

extern "C" {

// Of the tests.
void emulator_set_memory(std::size_t bytes) { total_bytes = bytes; }
void emulator_set_seed(std::uint64_t value) {
    Guard guard(lock);
    run_all();
    seed = value;
}
unsigned emulator_launches() { return launches; }
std::size_t emulator_used_bytes() {
    Guard guard(lock);
    run_all();
    return used_bytes[0] + used_bytes[1];
}
std::size_t emulator_locked_bytes() {
    Guard guard(lock);
    std::size_t bytes = 0;
    for (const auto& each : locked) bytes += each.second;
    return bytes;
}
// As if streams were never told to wait for others: what tests of waits must find.
void emulator_ignore_waits(std::uint64_t ignored) {
    Guard guard(lock);
    run_all();
    ignores_waits = ignored != 0;
}
// Kernels that were started while a copy on another stream was still to be done.
unsigned emulator_beside() { return beside; }
unsigned emulator_launches_of(int device) { return launches_of[device]; }

int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int* version) { return *version = 12080, SUCCESS; }
int cuDeviceGetCount(int* count) { return *count = DEVICES, SUCCESS; }
int cuDeviceGet(int* device, int ordinal) {
    return *device = ordinal, ordinal >= 0 && ordinal < DEVICES ? SUCCESS : INVALID_VALUE;
}
int cuDeviceGetName(char* name, int length, int) { return std::snprintf(name, length, "emulated"), SUCCESS; }
int cuDeviceTotalMem_v2(std::size_t* bytes, int) { return *bytes = total_bytes, SUCCESS; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 16: *value = 2; break;                 // multiprocessors
        case 75: *value = 9; break;                 // compute capability, major
        case 76: *value = 0; break;                 // minor
        case 115: *value = 1; break;                // memory in the order of streams
        default: *value = 0;
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void** made, int device) { return *made = &contexts[device], SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void* context) {
    current = int(static_cast<char*>(context) - contexts);
    return SUCCESS;
}
int cuCtxGetCurrent(void** of_thread) { return *of_thread = &contexts[current], SUCCESS; }
int cuCtxSynchronize() {
    Guard guard(lock);
    return run_all(), SUCCESS;
}
int cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
    Guard guard(lock);
    run_all();
    *available = total_bytes > used_bytes[current] ? total_bytes - used_bytes[current] : 0;
    *total = total_bytes;
    return SUCCESS;
}
int cuStreamCreate(void** made, unsigned) {
    Guard guard(lock);
    Stream* const stream = new Stream;
    streams.insert(stream);
    return *made = stream, SUCCESS;
}
int cuStreamSynchronize(void* handle) {
    Guard guard(lock);
    Stream* const stream = static_cast<Stream*>(handle);
    if (streams.count(stream) == 0) return INVALID_VALUE;
    return run_until(stream, stream->asked), SUCCESS;
}
int cuStreamDestroy_v2(void* stream) {
    Guard guard(lock);
    if (cuStreamSynchronize(stream) != SUCCESS) return INVALID_VALUE;
    streams.erase(static_cast<Stream*>(stream));
    return delete static_cast<Stream*>(stream), SUCCESS;
}
int cuStreamWaitEvent(void* stream, void* event, unsigned) {
    Guard guard(lock);
    const Event of_now = *static_cast<Event*>(event);
    if (of_now.stream == stream || of_now.stream == nullptr || ignores_waits) return SUCCESS;
    return ask(stream, [of_now] { run_until(of_now.stream, of_now.at); });
}
int cuStreamIsCapturing(void*, int* status) { return *status = 0, SUCCESS; }
int cuEventCreate(void** made, unsigned) { return *made = new Event, SUCCESS; }
int cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), SUCCESS; }
int cuEventRecord(void* event, void* stream) {
    Guard guard(lock);
    if (streams.count(static_cast<Stream*>(stream)) == 0) return INVALID_VALUE;
    *static_cast<Event*>(event) = {static_cast<Stream*>(stream), static_cast<Stream*>(stream)->asked};
    return SUCCESS;
}
int cuEventSynchronize(void* event) {
    Guard guard(lock);
    const Event of_now = *static_cast<Event*>(event);
    return run_until(of_now.stream, of_now.at), SUCCESS;
}
int cuEventQuery(void* event) {
    Guard guard(lock);
    const Event of_now = *static_cast<Event*>(event);
    if (of_now.stream == nullptr || streams.count(of_now.stream) == 0) return SUCCESS;
    return of_now.stream->done >= of_now.at ? SUCCESS : NOT_READY;
}
int cuEventElapsedTime_v2(float* passed, void*, void*) { return *passed = float(milliseconds), SUCCESS; }
int cuGetErrorName(int error, const char** name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_EMULATED";
    return SUCCESS;
}
int cuGetErrorString(int error, const char** text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : "refused by the emulator";
    return SUCCESS;
}

// The pool of a device, which can be told how many bytes to keep.
int cuDeviceGetDefaultMemPool(void** pool, int device) { return *pool = &contexts[device], SUCCESS; }
int cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
    const bool is_pool = pool >= &contexts[0] && pool < &contexts[DEVICES];
    return is_pool && attribute == 4 && value != nullptr ? SUCCESS : INVALID_VALUE;
}
int cuMemAllocAsync(std::uintptr_t* made, std::size_t bytes, void* stream) {
    Guard guard(lock);
    if (bytes == 0) return INVALID_VALUE;
    if (used_bytes[current] + bytes > total_bytes) run_all();
    if (used_bytes[current] + bytes > total_bytes) return OUT_OF_MEMORY;
    std::size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    std::size_t pages = (room + PAGE - 1) / PAGE * PAGE;
    void* mapping = mmap(nullptr, pages + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return OUT_OF_MEMORY;
    char* start = static_cast<char*>(mapping) + pages - room;
    *made = reinterpret_cast<std::uintptr_t>(start);
    allocations[*made] = {mapping, pages + PAGE, bytes, current, false};
    used_bytes[current] += bytes;
    return ask(stream, [mapping, pages, start, room, at = *made] {
        mprotect(mapping, pages, PROT_READ | PROT_WRITE);
        std::memset(start, 0xcd, room);
        allocations[at].there = true;
    });
}
int cuMemFreeAsync(std::uintptr_t pointer, void* stream) {
    Guard guard(lock);
    if (allocations.count(pointer) == 0) return INVALID_VALUE;
    return ask(stream, [pointer] {
        const Allocation freed = allocations[pointer];
        used_bytes[freed.device] -= freed.bytes;
        munmap(freed.mapping, freed.mapped);
        allocations.erase(pointer);
    });
}
int cuMemHostAlloc(void** made, std::size_t bytes, unsigned) {
    Guard guard(lock);
    *made = std::malloc(bytes);
    if (*made == nullptr) return OUT_OF_MEMORY;
    std::memset(*made, 0xcd, bytes);
    locked[reinterpret_cast<std::uintptr_t>(*made)] = bytes;
    return SUCCESS;
}
int cuMemFreeHost(void* pointer) {
    Guard guard(lock);
    if (locked.erase(reinterpret_cast<std::uintptr_t>(pointer)) == 0) return INVALID_VALUE;
    return std::free(pointer), SUCCESS;
}
int cuMemcpyHtoDAsync_v2(std::uintptr_t to, const void* from, std::size_t bytes, void* stream) {
    Guard guard(lock);
    if (!lies_inside(to, bytes, false)) return INVALID_VALUE;
    const bool reads_later = is_locked(from, bytes);
    std::vector<char> now;
    if (!reads_later) now.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    return ask(stream, [to, from, bytes, reads_later, now = std::move(now)] {
        if (!lies_inside(to, bytes, true)) fault("a copy leaves its memory");
        if (reads_later && !is_locked(from, bytes)) fault("page-locked memory is gone before it was copied");
        std::memcpy(reinterpret_cast<void*>(to), reads_later ? from : now.data(), bytes);
    });
}
int cuMemcpyDtoHAsync_v2(void* to, std::uintptr_t from, std::size_t bytes, void* stream) {
    Guard guard(lock);
    if (!lies_inside(from, bytes, false)) return INVALID_VALUE;
    const bool writes_later = is_locked(to, bytes);
    const int asked = ask(stream, [to, from, bytes, writes_later] {
        if (!lies_inside(from, bytes, true)) fault("a copy leaves its memory");
        if (writes_later && !is_locked(to, bytes)) fault("page-locked memory is gone before it was written");
        std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    });
    return asked == SUCCESS && !writes_later ? cuStreamSynchronize(stream) : asked;
}
int cuMemcpyDtoDAsync_v2(std::uintptr_t to, std::uintptr_t from, std::size_t bytes, void* stream) {
    Guard guard(lock);
    if (!lies_inside(to, bytes, false) || !lies_inside(from, bytes, false)) return INVALID_VALUE;
    return ask(stream, [to, from, bytes] {
        if (!lies_inside(to, bytes, true) || !lies_inside(from, bytes, true)) fault("a copy leaves its memory");
        std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    });
}
int cuMemsetD8Async(std::uintptr_t to, unsigned char value, std::size_t bytes, void* stream) {
    Guard guard(lock);
    if (!lies_inside(to, bytes, false)) return INVALID_VALUE;
    return ask(stream, [to, value, bytes] {
        if (!lies_inside(to, bytes, true)) fault("memory is set that is not there");
        std::memset(reinterpret_cast<void*>(to), value, bytes);
    });
}

// Whatever is loaded, the kernels are those of this library.
int cuModuleLoadData(void** made, const void*) { return *made = &module, SUCCESS; }
int cuModuleUnload(void*) { return SUCCESS; }
int cuModuleGetFunction(const void** found, void*, const char* name) {
    for (const Kernel& kernel : kernels) {
        if (std::strcmp(kernel.name, name) == 0) return *found = &kernel, SUCCESS;
    }
    return NOT_FOUND;
}
int cuLaunchKernel(const void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, void* stream, void** values, void**) {
    Guard guard(lock);
    if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || shared != 0) return INVALID_VALUE;
    ++launches;
    ++launches_of[current];
    for (Stream* other : streams) beside += other != stream && other->done < other->asked;
    // Arguments are taken when a kernel is started; none is larger than this.
    const Kernel* const kernel = static_cast<const Kernel*>(function);
    std::vector<std::uint64_t> arguments(kernel->arguments);
    for (unsigned each = 0; each < kernel->arguments; ++each) {
        std::memcpy(&arguments[each], values[each], kernel->sizes[each]);
    }
    return ask(stream, [kernel, grid_x, block_x, arguments = std::move(arguments)]() mutable {
        std::vector<void*> places;
        for (std::uint64_t& argument : arguments) places.push_back(&argument);
        emulator::run_grid(kernel->call, places.data(), grid_x, block_x, seed);
    });
}

}  // extern "C"
