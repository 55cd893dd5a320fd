;; Declares more memory than it may have.
;; fails: start
;; says: bytes of memory

(memory $memory (export "memory") 8192)
