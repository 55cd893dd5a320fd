/* The memory of a plugin: a stack that is cleared after every call. */
#ifndef ELANUS_MEMORY_H
#define ELANUS_MEMORY_H

#include "elanus_plugin.h"

/* The end of what is in use. What is allocated next lies there, or a few bytes after it. */
char *elanus_top(void);

/* Frees what was allocated after `top` was the end. */
void elanus_free_to(char *top);

/* Keeps what is in use now over the next calls; frees, after them, what comes later. */
void elanus_keep(void);

/* Frees everything that is not kept. */
void elanus_free_call(void);

/* The start of all memory. */
char *elanus_bottom(void);

#define ELANUS_EXPORT(interface, function) __attribute__((export_name("elanus:plugin/" interface "@1.0.0#" function)))
#define ELANUS_AFTER(interface, function) \
    __attribute__((export_name("cabi_post_elanus:plugin/" interface "@1.0.0#" function)))

#endif
