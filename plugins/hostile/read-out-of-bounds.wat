;; Reads past the end of its memory.
;; fails: rerank
;; says: out of bounds

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (i32.load (i32.const 0x7fffffff)))
