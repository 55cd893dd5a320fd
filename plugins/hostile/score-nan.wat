;; One of its scores is no finite number.
;; fails: rerank
;; says: a score is NaN

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $good_rerank (local.get $call)))
  (i32.store offset=4 (i32.load (i32.const 268)) (i32.const 0x7fc00000))
  (i32.const 256))
