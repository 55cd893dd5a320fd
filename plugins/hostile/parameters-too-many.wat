;; Has a thousand parameters.
;; fails: describe
;; says: at most 64 are allowed

(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 168) (i32.const 8192))
  (i32.store (i32.const 172) (i32.const 1000))
  (i32.const 128))
