;; Ten thousand functions.
;; world: udf
;; fails: describe
;; says: at most 256 are allowed

(func (export "elanus:plugin/scalar-functions@1.0.0#describe") (result i32)
  (drop (memory.grow (i32.const 16)))
  (i32.store (i32.const 400) (i32.const 131072))
  (i32.store (i32.const 404) (i32.const 10000))
  (i32.const 384))
