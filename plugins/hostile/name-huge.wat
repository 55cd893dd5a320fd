;; Has a name of a megabyte.
;; fails: describe
;; says: 1 to 64 are allowed

(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (drop (memory.grow (i32.const 32)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576))
  (i32.store (i32.const 128) (i32.const 65536))
  (i32.store (i32.const 132) (i32.const 1048576))
  (i32.const 128))
