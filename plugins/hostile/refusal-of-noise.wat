;; Refuses with a text full of control characters, longer than anybody reads.
;; fails: rerank
;; says:  ..

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (memory.fill (i32.const 8192) (i32.const 27) (i32.const 50000))
  (i32.store8 (i32.const 256) (i32.const 1)) ;; error
  (i32.store8 (i32.const 260) (i32.const 2)) ;; internal
  (i32.store (i32.const 264) (i32.const 8192))
  (i32.store (i32.const 268) (i32.const 50000))
  (i32.const 256))
