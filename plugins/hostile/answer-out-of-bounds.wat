;; Returns a pointer to nowhere.
;; fails: rerank
;; says: pointer

(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (i32.const 0x7ffffff0))
