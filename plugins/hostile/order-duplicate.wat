;; Returns a candidate twice.
;; fails: rerank
;; says: candidate 1 twice

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $good_rerank (local.get $call)))
  (i32.store (i32.load (i32.const 260)) (i32.const 1))
  (i32.const 256))
