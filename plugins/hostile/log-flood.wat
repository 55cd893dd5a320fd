;; Writes to the log as fast as it can.
;; rights: log
;; fails: rerank
;; says: took longer than

(import "elanus:plugin/log@1.0.0" "write" (func $write (param i32 i32 i32)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (loop $again
    (call $write (i32.const 1) (i32.const 4096) (i32.const 50000))
    (br $again))
  unreachable)
