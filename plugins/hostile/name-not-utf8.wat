;; Has a name that is no text.
;; fails: describe
;; says: utf-8

(data (i32.const 4096) "\ff\fe\fd")
(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 128) (i32.const 4096))
  (i32.store (i32.const 132) (i32.const 3))
  (i32.const 128))
