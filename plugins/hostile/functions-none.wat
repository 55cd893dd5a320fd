;; A plugin of functions without a function.
;; world: udf
;; fails: describe
;; says: no function

(func (export "elanus:plugin/scalar-functions@1.0.0#describe") (result i32)
  (i32.store (i32.const 404) (i32.const 0))
  (i32.const 384))
