;; Answers, and then traps while it cleans up.
;; fails: rerank
;; says: unreachable

(func (export "cabi_post_elanus:plugin/reranking@1.0.0#rerank") (param i32)
  unreachable)
