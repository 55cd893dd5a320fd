;; Asks for the time forever.
;; rights: clock
;; fails: rerank
;; says: took longer than

(import "elanus:plugin/clock@1.0.0" "now" (func $now (result i64)))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (loop $again
    (drop (call $now))
    (br $again))
  unreachable)
