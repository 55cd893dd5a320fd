;; Gives out memory at an odd place.
;; fails: configure
;; says: aligned

(func $odd (param i32 i32 i32 i32) (result i32) (i32.const 70001))
(export "cabi_realloc" (func $odd))
