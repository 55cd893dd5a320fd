;; Needs the column that a parameter names which it does not have.
;; fails: describe
;; says: which there is not

(data (i32.const 4096) "p")
(data (i32.const 4160)
  "\01\00\00\00" "\00\10\00\00" "\01\00\00\00"   ;; parameter "p"
  "\00\00\00\00" "\00\00\00\00" "\00\00\00\00")  ;; f32s
(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 152) (i32.const 4160))
  (i32.store (i32.const 156) (i32.const 1))
  (i32.const 128))
