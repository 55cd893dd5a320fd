;; Returns a list of a billion places, which are not in its memory.
;; fails: rerank
;; says: out of bounds

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (call $answer (i32.const 4096) (i32.const 0x3fffffff) (i32.const 4096) (i32.const 0x3fffffff)))
