;; Wants to write to a file of the system.
;; fails: load
;; says: it uses WASI

(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
  (call $good_rerank (local.get $call)))
