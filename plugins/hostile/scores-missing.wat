;; Returns an order without scores.
;; fails: rerank
;; says: 0 scores

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $good_rerank (local.get $call)))
  (i32.store (i32.const 272) (i32.const 0))
  (i32.const 256))
