;; Answers, and then never ends to clean up.
;; fails: rerank
;; says: took longer than

(func (export "cabi_post_elanus:plugin/reranking@1.0.0#rerank") (param i32)
  (loop $forever (br $forever)))
