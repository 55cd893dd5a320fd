;; Returns more places than there are candidates.
;; fails: rerank
;; says: candidates

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (call $answer (i32.const 4096) (i32.const 5000) (i32.const 4096) (i32.const 5000)))
