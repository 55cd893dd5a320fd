;; Has a name that would paint a terminal red.
;; fails: describe
;; says: lower-case letters

(data (i32.const 4096) "\1b[31mbad")
(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 128) (i32.const 4096))
  (i32.store (i32.const 132) (i32.const 8))
  (i32.const 128))
