;; Returns fewer candidates than were asked for.
;; fails: rerank
;; says: were asked for

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (call $answer (i32.const 4096) (i32.const 1) (i32.const 8192) (i32.const 1)))
