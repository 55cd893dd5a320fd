;; Divides by zero.
;; fails: rerank
;; says: divide by zero

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (i32.div_u (i32.const 1) (i32.const 0)))
