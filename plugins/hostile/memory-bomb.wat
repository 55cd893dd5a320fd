;; Takes memory until it gets no more, and falls over.
;; fails: rerank
;; says: bytes of memory

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (loop $more
    (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  unreachable)
