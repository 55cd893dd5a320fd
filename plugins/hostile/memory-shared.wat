;; Declares a memory that threads would share, and that no limit would hold.
;; fails: load
;; says: it is no valid component

(memory $memory (export "memory") 2 8192 shared)
