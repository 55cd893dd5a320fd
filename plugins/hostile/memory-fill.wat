;; Writes to all of its memory again and again: one instruction takes long, many take longer.
;; fails: rerank
;; says: took longer than

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (drop (memory.grow (i32.const 256)))
  (loop $again
    (memory.fill (i32.const 65536) (i32.const 1) (i32.mul (i32.const 65536) (i32.const 256)))
    (br $again))
  unreachable)
