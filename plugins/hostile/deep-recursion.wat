;; Calls itself until the stack ends.
;; fails: rerank
;; says: call stack exhausted

(func $deeper (param $depth i64) (result i64)
  (i64.add (call $deeper (i64.add (local.get $depth) (i64.const 1))) (local.get $depth)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $deeper (i64.const 0)))
  (call $good_rerank (local.get $call)))
