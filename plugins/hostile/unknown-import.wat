;; Imports what is in no contract.
;; fails: load
;; says: declared and not there

(import "env" "system" (func $system (param i32) (result i32)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $system (i32.const 0)))
  (call $good_rerank (local.get $call)))
