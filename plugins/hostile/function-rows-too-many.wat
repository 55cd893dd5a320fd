;; A function that returns more rows than it was given.
;; world: udf
;; fails: invoke
;; says: values for

(func (export "elanus:plugin/scalar-functions@1.0.0#invoke")
  (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (call $f32s (i32.const 4096) (i32.const 10000)))
