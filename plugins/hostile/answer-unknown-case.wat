;; Returns neither an answer nor an error.
;; fails: rerank
;; says: discriminant

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (i32.store8 (i32.const 256) (i32.const 7))
  (i32.const 256))
