;; Never says what it is.
;; fails: describe
;; says: took longer than

(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (loop $forever (br $forever))
  unreachable)
