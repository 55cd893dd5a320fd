;; Takes all the memory that it gets, and then answers as if nothing were.
;; passes

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (loop $more
    (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (call $good_rerank (local.get $call)))
