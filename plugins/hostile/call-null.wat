;; Calls an empty entry of a table.
;; fails: rerank
;; says: uninitialized element

(table $table 1 funcref)
(type $nothing (func (result i32)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (call_indirect $table (type $nothing) (i32.const 0)))
