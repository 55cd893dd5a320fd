// The functions of CUDA's driver that Elanus calls, over the emulated kernels: a device for tests on machines that have none.
// Everything is done at once, so streams and events are nothing. The kernels are compiled into the same library; before
// this file come cuda.h, the kernels and the table `kernels`.
//
// There are two devices, each with a context and memory of its own; a thread works on the one whose context is current.
//
// Memory that a kernel must not touch is not there: every allocation ends at a page that nobody may read, and is
// unmapped when it is freed. Fresh memory is filled with rubbish.
#include <sys/mman.h>
#include <atomic>
#include <map>
#include <mutex>

namespace {

enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };

constexpr std::size_t PAGE = 4096;
// Alignment of an allocation: a float4.
constexpr std::size_t ALIGN = 16;

constexpr int DEVICES = 2;

struct Allocation {
    void* mapping;
    std::size_t mapped, bytes;
    int device;
};

std::recursive_mutex lock;
std::map<std::uintptr_t, Allocation> allocations;
// Of each device.
std::size_t total_bytes = std::size_t(1) << 30;
std::size_t used_bytes[DEVICES];
std::uint64_t seed = 0;
std::atomic<unsigned> launches{0}, launches_of[DEVICES];
// Handles that are never looked into.
char contexts[DEVICES], stream, event, module;
thread_local int current = 0;
double milliseconds = 0;

bool lies_inside(std::uintptr_t at, std::size_t bytes) {
    auto next = allocations.upper_bound(at);
    if (next == allocations.begin()) return false;
    --next;
    return at + bytes <= next->first + next->second.bytes && next->second.device == current;
}

}  // namespace

extern "C" {

// Of the tests.
void emulator_set_memory(std::size_t bytes) { total_bytes = bytes; }
void emulator_set_seed(std::uint64_t value) { seed = value; }
unsigned emulator_launches() { return launches; }
std::size_t emulator_used_bytes() { return used_bytes[0] + used_bytes[1]; }
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
int cuCtxSynchronize() { return SUCCESS; }
int cuMemGetInfo_v2(std::size_t* available, std::size_t* total) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    *available = total_bytes > used_bytes[current] ? total_bytes - used_bytes[current] : 0;
    *total = total_bytes;
    return SUCCESS;
}
int cuStreamCreate(void** made, unsigned) { return *made = &stream, SUCCESS; }
int cuStreamDestroy_v2(void*) { return SUCCESS; }
int cuStreamSynchronize(void*) { return SUCCESS; }
int cuStreamWaitEvent(void*, void*, unsigned) { return SUCCESS; }
int cuStreamIsCapturing(void*, int* status) { return *status = 0, SUCCESS; }
int cuEventCreate(void** made, unsigned) { return *made = &event, SUCCESS; }
int cuEventDestroy_v2(void*) { return SUCCESS; }
int cuEventRecord(void*, void*) { return SUCCESS; }
int cuEventSynchronize(void*) { return SUCCESS; }
int cuEventQuery(void*) { return SUCCESS; }
int cuEventElapsedTime_v2(float* passed, void*, void*) { return *passed = float(milliseconds), SUCCESS; }
int cuGetErrorName(int error, const char** name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_EMULATED";
    return SUCCESS;
}
int cuGetErrorString(int error, const char** text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : "refused by the emulator";
    return SUCCESS;
}

int cuMemAlloc_v2(std::uintptr_t* made, std::size_t bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (bytes == 0) return INVALID_VALUE;
    if (used_bytes[current] + bytes > total_bytes) return OUT_OF_MEMORY;
    std::size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    std::size_t pages = (room + PAGE - 1) / PAGE * PAGE;
    void* mapping = mmap(nullptr, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(static_cast<char*>(mapping) + pages, PAGE, PROT_NONE);
    char* start = static_cast<char*>(mapping) + pages - room;
    std::memset(start, 0xcd, room);
    *made = reinterpret_cast<std::uintptr_t>(start);
    allocations[*made] = {mapping, pages + PAGE, bytes, current};
    used_bytes[current] += bytes;
    return SUCCESS;
}
int cuMemFree_v2(std::uintptr_t pointer) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    auto found = allocations.find(pointer);
    if (found == allocations.end()) return INVALID_VALUE;
    used_bytes[found->second.device] -= found->second.bytes;
    munmap(found->second.mapping, found->second.mapped);
    allocations.erase(found);
    return SUCCESS;
}
int cuMemcpyHtoDAsync_v2(std::uintptr_t to, const void* from, std::size_t bytes, void*) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (!lies_inside(to, bytes)) return INVALID_VALUE;
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void* to, std::uintptr_t from, std::size_t bytes, void*) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (!lies_inside(from, bytes)) return INVALID_VALUE;
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
}
int cuMemcpyDtoDAsync_v2(std::uintptr_t to, std::uintptr_t from, std::size_t bytes, void*) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (!lies_inside(to, bytes) || !lies_inside(from, bytes)) return INVALID_VALUE;
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
}
int cuMemsetD8Async(std::uintptr_t to, unsigned char value, std::size_t bytes, void*) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (!lies_inside(to, bytes)) return INVALID_VALUE;
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return SUCCESS;
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
                   unsigned block_y, unsigned block_z, unsigned shared, void*, void** values, void**) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || shared != 0) return INVALID_VALUE;
    ++launches;
    ++launches_of[current];
    emulator::run_grid(static_cast<const Kernel*>(function)->call, values, grid_x, block_x, seed);
    return SUCCESS;
}

}  // extern "C"
