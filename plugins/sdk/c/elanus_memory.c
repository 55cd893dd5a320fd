#include "elanus_memory.h"

#define PAGE 65536u
#define ALIGN 16u

/* The linker's: where data and stack end. */
extern char __heap_base;

static char *top, *kept;

char *elanus_bottom(void) {
    return (char *)(((uintptr_t)&__heap_base + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
}

char *elanus_top(void) {
    if (!top)
        top = kept = elanus_bottom();
    return top;
}

void elanus_free_to(char *end) {
    top = end;
}

void elanus_keep(void) {
    kept = elanus_top();
}

void elanus_free_call(void) {
    if (top)
        top = kept;
}

static void *take(uint32_t size) {
    char *start = elanus_top();
    const uintptr_t used = (uintptr_t)start;
    if (size > UINT32_MAX - PAGE - used)
        __builtin_trap();
    const uintptr_t end = (used + size + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1);
    const uintptr_t pages = (end + PAGE - 1) / PAGE;
    const uintptr_t has = __builtin_wasm_memory_size(0);
    if (pages > has && __builtin_wasm_memory_grow(0, pages - has) == (size_t)-1)
        __builtin_trap();
    top = (char *)end;
    return start;
}

void *elanus_alloc(uint32_t size) {
    return __builtin_memset(take(size), 0, size);
}

/* The host's way to bring arguments in. */
__attribute__((export_name("cabi_realloc"))) void *elanus_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
    (void)align; /* 8 at most */
    void *new = take(size);
    if (old_size)
        __builtin_memcpy(new, old, old_size < size ? old_size : size);
    return new;
}
