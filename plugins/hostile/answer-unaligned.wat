;; Returns a pointer to an odd place.
;; fails: rerank
;; says: aligned

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (i32.const 4097))
