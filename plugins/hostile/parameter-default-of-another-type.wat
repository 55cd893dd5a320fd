;; Has a number with a text as default.
;; fails: describe
;; says: its default is not

(data (i32.const 4096) "p")
(data (i32.const 4160)
  "\00\10\00\00" "\01\00\00\00"   ;; name
  "\00\00\00\00" "\00\00\00\00"   ;; description
  "\02\00\00\00" "\00\00\00\00"   ;; number
  "\01\00\00\00" "\00\00\00\00"   ;; some
  "\03\00\00\00" "\00\00\00\00")  ;; text ""
(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 168) (i32.const 4160))
  (i32.store (i32.const 172) (i32.const 1))
  (i32.const 128))
