;; Wants to write to the log and has not the right to.
;; fails: load
;; says: the right 'log' is not granted

(import "elanus:plugin/log@1.0.0" "write" (func $write (param i32 i32 i32)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (call $write (i32.const 1) (i32.const 4096) (i32.const 5))
  (call $good_rerank (local.get $call)))
