;; Gives out memory that it has not.
;; fails: configure
;; says: end of memory

(func $wild (param i32 i32 i32 i32) (result i32) (i32.const 0x7fff0000))
(export "cabi_realloc" (func $wild))
